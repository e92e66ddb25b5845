package peers;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Utils;

/**
 * End-to-end latency at a fixed rate, open loop: from the moment an event was due to the moment a read_committed consumer of the output
 * sees it counted. Who sends late is late for everybody. The peer runs already; both topics are read from their ends.
 * --bootstrap --in --out --rate --seconds --warmup --kind pass|agg --start (ISO, an hour that has no events yet) [--linger MS]
 * pass: the n-th output of a partition answers its n-th input. agg: a row of (hour, type) with count c answers the first c events of that
 * type, and a partial of a partition the first c of that type and partition. Prints "warm" when the warm-up is over, then one JSON line.
 */
public final class Latency {
    private static final class Sent {
        long[] at = new long[1 << 16];
        int n, answered;

        void add(long t) {
            if (n == at.length) at = Arrays.copyOf(at, 2 * n);
            at[n++] = t;
        }
    }

    private final Map<String, Sent> sent = new HashMap<>(); // guarded by itself
    private final boolean pass;
    private final String in, out;
    private final long rate, total, eventTime;
    private final Properties p = new Properties();
    private int inParts;
    private long begin, warmUntil, answered;
    private final long[] latencies;
    private int measured;

    private Latency(Args a) {
        in = a.s("in", null);
        out = a.s("out", null);
        pass = a.s("kind", "agg").equals("pass");
        rate = a.n("rate", 5000);
        total = rate * a.n("seconds", 60);
        latencies = new long[(int) total];
        eventTime = Instant.parse(a.s("start", "2026-11-21T10:00:00Z")).toEpochMilli();
        p.put("bootstrap.servers", a.s("bootstrap", null));
        p.put("isolation.level", "read_committed");
        p.put("linger.ms", a.s("linger", "5")); // the default of Kafka 4: at 1 the meter alone keeps a small broker busy
    }

    public static void main(String[] argv) throws Exception {
        Args a = new Args(argv);
        new Latency(a).run(a.n("warmup", 20), a.n("seed", 77));
    }

    private void run(long warmup, long seed) throws Exception {
        try (KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> parts = c.partitionsFor(out).stream().map(i -> new TopicPartition(out, i.partition())).toList();
            inParts = c.partitionsFor(in).size();
            c.assign(parts);
            c.seekToEnd(parts);
            parts.forEach(c::position);
            begin = System.nanoTime() + 200_000_000L;
            warmUntil = begin + warmup * 1_000_000_000L;
            Thread producer = new Thread(() -> send(new EventMaker(seed, 100_000)));
            producer.start();
            int idle = 0;
            while (answered < total && idle < 50) {
                var batch = c.poll(Duration.ofMillis(100));
                long now = System.nanoTime();
                idle = batch.isEmpty() && !producer.isAlive() ? idle + 1 : 0;
                for (var r : batch) answer(r, now);
            }
            producer.join();
        }
        report();
    }

    private void send(EventMaker mk) {
        boolean warm = false;
        try (KafkaProducer<byte[], byte[]> k = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (long i = 0; i < total; i++) {
                long due = begin + i * 1_000_000_000L / rate;
                for (long wait; (wait = due - System.nanoTime()) > 0; ) LockSupport.parkNanos(wait);
                if (!warm && due >= warmUntil) {
                    warm = true;
                    System.out.println("warm");
                }
                byte[] value = mk.make(eventTime + i / 100);
                byte[] key = EventMaker.userKey(mk.user).getBytes(StandardCharsets.US_ASCII);
                int part = Utils.toPositive(Utils.murmur2(key)) % inParts;
                note(EventMaker.TYPES[mk.type], part, due);
                k.send(new ProducerRecord<>(in, part, key, value));
            }
        }
    }

    private void note(String type, int part, long due) {
        synchronized (sent) {
            if (pass) {
                sent.computeIfAbsent("p" + part, x -> new Sent()).add(due);
            } else {
                sent.computeIfAbsent(type, x -> new Sent()).add(due);
                sent.computeIfAbsent(type + "|" + part, x -> new Sent()).add(due);
            }
        }
    }

    private void answer(ConsumerRecord<byte[], byte[]> r, long now) throws IOException {
        String name = "p" + r.partition();
        int count = -1;
        if (!pass) {
            JsonNode row = Json.MAPPER.readTree(r.value());
            if (hour(row) != Math.floorDiv(eventTime, 3_600_000L)) return;
            String key = new String(r.key(), StandardCharsets.US_ASCII);
            name = row.has("window") ? ours(row) : key.substring(key.indexOf('|') + 1);
            count = row.get("count").asInt();
        }
        synchronized (sent) {
            Sent s = sent.get(name);
            if (s == null) return;
            for (int upTo = Math.min(pass ? s.answered + 1 : count, s.n); s.answered < upTo; s.answered++, answered++)
                if (s.at[s.answered] >= warmUntil) latencies[measured++] = now - s.at[s.answered];
        }
    }

    /** In the peers' shape, or in Tidemill's. */
    private static long hour(JsonNode row) {
        if (!row.has("window")) return row.get("hour").asLong();
        return Math.floorDiv(Instant.parse(row.get("window").get("start").asText()).toEpochMilli(), 3_600_000L);
    }

    private static String ours(JsonNode row) {
        String type = row.get("event_type").asText();
        return row.has("partition") ? type + "|" + row.get("partition").asInt() : type;
    }

    private void report() {
        long[] sorted = Arrays.copyOf(latencies, measured);
        Arrays.sort(sorted);
        String quantiles = String.join(",", IntStream.of(500, 900, 990, 999, 1000).mapToObj(m -> String.format("\"%s\":%.1f",
            m == 1000 ? "max" : m == 999 ? "p999" : "p" + m / 10,
            sorted.length == 0 ? -1 : sorted[Math.min(sorted.length - 1, (int) ((long) sorted.length * m / 1000))] / 1e6)).toList());
        System.out.printf("{\"sent\":%d,\"answered\":%d,\"measured\":%d,\"ms\":{%s}}%n", total, answered, measured, quantiles);
    }
}
