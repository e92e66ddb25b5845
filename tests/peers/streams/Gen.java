package peers;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.BitSet;
import java.util.List;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes N events to a new topic, and what must come of them to a JSON file. Same seed, same bytes.
 * --bootstrap --topic --n --partitions --users --hours --dup (percent) --invalid (percent) --seed --start (ISO) --oracle FILE
 * --seconds 1: counts and sums of each second too. --fill 1: the first events are one of each user, N more follow.
 * --shape compact: {"duration_seconds":1.25} instead of 350 bytes.
 * A duplicate repeats, byte for byte, one of the last 100,000 valid events or of those of the last half hour, whichever is less.
 */
public final class Gen {
    private static final class Cell { long count, cents; final BitSet users = new BitSet(); }

    /** What must come of the events so far. */
    private static final class Oracle {
        final TreeMap<Long, Cell[]> hours = new TreeMap<>();
        final TreeMap<Long, long[]> seconds = new TreeMap<>();
        final BitSet users = new BitSet();
        private final CRC32 crc = new CRC32();
        long unique, ids, high, keys, cents;

        void count(EventMaker mk, long ms, byte[] value, byte[] key, boolean perSecond) {
            Cell[] row = hours.computeIfAbsent(Math.floorDiv(ms, 3_600_000L), h -> new Cell[EventMaker.TYPES.length]);
            Cell c = row[mk.type] == null ? row[mk.type] = new Cell() : row[mk.type];
            c.count++;
            c.cents += mk.cents;
            c.users.set(mk.user);
            users.set(mk.user);
            unique++;
            cents += mk.cents;
            if (mk.high) high++;
            if (mk.idLength > 0) ids += checksum(value, mk.idAt, mk.idLength);
            keys += checksum(key, 0, key.length);
            if (perSecond) {
                long[] s = seconds.computeIfAbsent(Math.floorDiv(ms, 1000L), x -> new long[2 * EventMaker.TYPES.length]);
                s[2 * mk.type]++;
                s[2 * mk.type + 1] += mk.cents;
            }
        }

        private long checksum(byte[] b, int at, int length) {
            crc.reset();
            crc.update(b, at, length);
            return crc.getValue();
        }

        void write(StringBuilder s) {
            s.append(String.format(",\"unique\":%d,\"ids\":%s,\"high\":%d,\"keys\":%s,\"distinct\":%d,\"cents\":%d,\"types\":[",
                unique, Long.toUnsignedString(ids), high, Long.toUnsignedString(keys), users.cardinality(), cents));
            for (int t = 0; t < EventMaker.TYPES.length; t++) s.append(t == 0 ? "\"" : ",\"").append(EventMaker.TYPES[t]).append('"');
            s.append("],\"seconds\":[");
            String sep = "\n";
            for (var e : seconds.entrySet())
                for (int t = 0; t < EventMaker.TYPES.length; t++) {
                    if (e.getValue()[2 * t] == 0) continue;
                    s.append(sep).append(String.format("[%d,%d,%d,%d]", e.getKey(), t, e.getValue()[2 * t], e.getValue()[2 * t + 1]));
                    sep = ",\n";
                }
            s.append("],\"rows\":[");
            sep = "\n";
            for (var e : hours.entrySet())
                for (int t = 0; t < EventMaker.TYPES.length; t++) {
                    Cell c = e.getValue()[t];
                    if (c == null) continue;
                    s.append(sep).append(String.format("{\"hour\":%d,\"type\":\"%s\",\"count\":%d,\"users\":%d,\"sum\":%d.%02d}",
                        e.getKey(), EventMaker.TYPES[t], c.count, c.users.cardinality(), c.cents / 100, c.cents % 100));
                    sep = ",\n";
                }
            s.append("\n]}\n");
        }
    }

    public static void main(String[] argv) throws Exception {
        Args a = new Args(argv);
        int users = (int) a.n("users", 100_000), hours = (int) a.n("hours", 4), fill = a.has("fill") ? users : 0;
        int n = (int) a.n("n", 1_000_000) + fill;
        double dup = a.d("dup", 1) / 100, bad = a.d("invalid", 0) / 100;
        long start = Instant.parse(a.s("start", "2026-11-21T04:00:00Z")).toEpochMilli();
        String topic = a.s("topic", null);
        EventMaker mk = new EventMaker(a.n("seed", 1), users);
        mk.compact = a.s("shape", "full").equals("compact");
        EventMaker dice = new EventMaker(a.n("seed", 1) ^ 0x5EED, users);
        Oracle oracle = new Oracle();
        byte[][] ring = new byte[Math.max(1, Math.min(100_000, n / (2 * hours)))][], ringKey = new byte[ring.length][];
        int filled = 0, dups = 0, invalid = 0;
        long bytes = 0, t0 = System.nanoTime();
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> out = open(a, topic)) {
            for (int i = 0; i < n; i++) {
                double roll = (dice.next() >>> 11) * 0x1p-53;
                byte[] key, value;
                if (i >= fill && roll < dup && filled > 0) {
                    int j = dice.below(Math.min(filled, ring.length));
                    key = ringKey[j];
                    value = ring[j];
                    dups++;
                } else {
                    long ms = start + (long) ((double) i / n * hours * 3_600_000L);
                    value = i < fill ? mk.make(ms, (int) (i * 7_368_787L % users)) : mk.make(ms); // a prime step: every user once
                    key = EventMaker.userKey(mk.user).getBytes(StandardCharsets.US_ASCII);
                    if (i >= fill && roll < dup + bad) {
                        value = mk.spoil(value, invalid++ % 5);
                    } else {
                        ring[filled % ring.length] = value;
                        ringKey[filled++ % ring.length] = key;
                        oracle.count(mk, ms, value, key, a.has("seconds"));
                    }
                }
                bytes += value.length;
                out.send(new ProducerRecord<>(topic, key, value), (m, e) -> { if (e != null) failed.set(e); });
            }
        }
        if (failed.get() != null) throw failed.get();
        StringBuilder s = new StringBuilder();
        s.append(String.format("{\"topic\":\"%s\",\"n\":%d,\"fill\":%d,\"duplicates\":%d,\"invalid\":%d,\"users\":%d,\"value_bytes\":%d,\"took_s\":%.1f",
            topic, n, fill, dups, invalid, users, bytes, (System.nanoTime() - t0) / 1e9));
        System.out.println(s + "}");
        oracle.write(s);
        Files.writeString(Path.of(a.s("oracle", null)), s);
    }

    private static KafkaProducer<byte[], byte[]> open(Args a, String topic) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", a.s("bootstrap", null));
        p.put("linger.ms", "20");
        p.put("batch.size", "262144");
        p.put("buffer.memory", "134217728");
        p.put("compression.type", a.s("compression", "none"));
        try (Admin admin = Admin.create(p)) {
            int partitions = (int) a.n("partitions", 4);
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
            // Answered only when each partition has a leader that says so: what is sent before may be refused, and what was sent behind it
            // is then out of order for good.
            admin.listOffsets(IntStream.range(0, partitions).boxed()
                .collect(Collectors.toMap(i -> new TopicPartition(topic, i), i -> OffsetSpec.latest()))).all().get();
        }
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }
}
