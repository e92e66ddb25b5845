package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowBytesStoreSupplier;
import org.apache.kafka.streams.state.WindowStore;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.CompressionType;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;

/**
 * W1 by an expert in Kafka Streams: Processor API, streaming JSON parser, binary keys, point lookups only, no repartition.
 * The topic is keyed by user, so each partition emits its own partial (count, distinct users, sum) and the partials add up.
 */
final class Tuned {
    private static final long HOUR = 3_600_000L;
    private static final byte[] PRESENT = {};
    private static final int PURCHASE = 3;
    private static final byte[] HIGH = ",\"is_high_value\":true}".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] LOW = ",\"is_high_value\":false}".getBytes(StandardCharsets.US_ASCII);
    private static final JsonFactory JSON = new JsonFactory();

    private static final class Cell {
        final long hour;
        final int type;
        final Bytes key;
        final byte[] outKey;
        long count, users;
        double sum;
        boolean dirty;

        Cell(long hour, int type, int partition) {
            this.hour = hour;
            this.type = type;
            key = Bytes.wrap(ByteBuffer.allocate(9).putLong(hour).put((byte) type).array());
            outKey = (hour + "|" + EventMaker.TYPES[type] + "|" + partition).getBytes(StandardCharsets.US_ASCII);
        }

        byte[] state() { return ByteBuffer.allocate(24).putLong(count).putLong(users).putDouble(sum).array(); }

        byte[] json() {
            return ("{\"hour\":" + hour + ",\"type\":\"" + EventMaker.TYPES[type] + "\",\"count\":" + count + ",\"users\":" + users
                + ",\"sum\":" + sum + ",\"avg\":" + sum / count + "}").getBytes(StandardCharsets.US_ASCII);
        }
    }

    private static final class Worker implements Processor<byte[], byte[], byte[], byte[]> {
        private final long emitMs;
        private final boolean enrich;
        private ProcessorContext<byte[], byte[]> ctx;
        private WindowStore<Bytes, byte[]> seen;
        private WindowStore<Bytes, byte[]> users;
        private KeyValueStore<Bytes, byte[]> store;
        private final Map<Long, Cell[]> cells = new HashMap<>();
        private final List<Cell> dirty = new ArrayList<>();
        private int partition;
        // Fields of the event being read.
        private String id, user, type, time;
        private double duration, amount;

        Worker(long emitMs, boolean enrich) {
            this.emitMs = emitMs;
            this.enrich = enrich;
        }

        @Override public void init(ProcessorContext<byte[], byte[]> ctx) {
            this.ctx = ctx;
            partition = ctx.taskId().partition();
            seen = ctx.getStateStore("dedupe");
            users = ctx.getStateStore("users");
            store = ctx.getStateStore("agg");
            try (var it = store.all()) {
                it.forEachRemaining(kv -> {
                    ByteBuffer k = ByteBuffer.wrap(kv.key.get()), v = ByteBuffer.wrap(kv.value);
                    Cell c = cell(k.getLong(), k.get());
                    c.count = v.getLong();
                    c.users = v.getLong();
                    c.sum = v.getDouble();
                });
            }
            ctx.schedule(Duration.ofMillis(emitMs), PunctuationType.WALL_CLOCK_TIME, now -> emit(now));
        }

        private Cell cell(long hour, int type) {
            Cell[] row = cells.computeIfAbsent(hour, h -> new Cell[EventMaker.TYPES.length]);
            return row[type] == null ? row[type] = new Cell(hour, type, partition) : row[type];
        }

        private void emit(long now) {
            for (Cell c : dirty) {
                c.dirty = false;
                ctx.forward(new Record<>(c.outKey, c.json(), now), "out");
            }
            dirty.clear();
        }

        private boolean read(byte[] json) {
            id = user = type = time = null;
            duration = -1;
            amount = 0;
            try (JsonParser p = JSON.createParser(json)) {
                if (p.nextToken() != JsonToken.START_OBJECT) return false;
                while (p.nextToken() == JsonToken.FIELD_NAME) {
                    String name = p.currentName();
                    JsonToken t = p.nextToken();
                    switch (name) {
                        case "event_id" -> id = p.getValueAsString();
                        case "user_id" -> user = p.getValueAsString();
                        case "event_type" -> type = p.getValueAsString();
                        case "timestamp" -> time = p.getValueAsString();
                        case "duration_seconds" -> { if (t.isNumeric()) duration = p.getDoubleValue(); }
                        case "event_data" -> readAmount(p, t);
                        default -> p.skipChildren();
                    }
                }
                return p.currentToken() == JsonToken.END_OBJECT;
            } catch (IOException e) {
                return false;
            }
        }

        private void readAmount(JsonParser p, JsonToken t) throws IOException {
            if (!enrich || t != JsonToken.START_OBJECT) {
                p.skipChildren();
                return;
            }
            while (p.nextToken() == JsonToken.FIELD_NAME) {
                boolean wanted = p.currentName().equals("amount");
                JsonToken inner = p.nextToken();
                if (wanted && inner.isNumeric()) amount = p.getDoubleValue(); else p.skipChildren();
            }
        }

        /** The event as it came, with one more field. */
        private byte[] enriched(byte[] json, int type) {
            byte[] more = type == PURCHASE && amount > 100 ? HIGH : LOW;
            byte[] all = java.util.Arrays.copyOf(json, json.length - 1 + more.length);
            System.arraycopy(more, 0, all, json.length - 1, more.length);
            return all;
        }

        private static int typeIndex(String s) {
            for (int i = 0; i < EventMaker.TYPES.length; i++) if (EventMaker.TYPES[i].equals(s)) return i;
            return -1;
        }

        /** 16 bytes for a UUID, the text itself for any other id. */
        private static Bytes idKey(String id) {
            if (id.length() != 36) return Bytes.wrap(id.getBytes(StandardCharsets.UTF_8));
            byte[] b = new byte[16];
            int n = 0;
            for (int i = 0; i < 36; i++) {
                char c = id.charAt(i);
                if (c == '-') continue;
                int d = Character.digit(c, 16);
                if (d < 0 || n >= 32) return Bytes.wrap(id.getBytes(StandardCharsets.UTF_8));
                b[n >> 1] |= (byte) ((n & 1) == 0 ? d << 4 : d);
                n++;
            }
            return Bytes.wrap(b);
        }

        @Override public void process(Record<byte[], byte[]> r) {
            if (r.value() == null || !read(r.value()) || id == null || id.isEmpty() || user == null || user.isEmpty() || duration < 0) return;
            int t = typeIndex(type);
            if (t < 0 || time == null) return;
            long ms;
            try {
                ms = Instant.parse(time).toEpochMilli();
            } catch (DateTimeParseException e) {
                return;
            }
            long hour = Math.floorDiv(ms, HOUR), start = hour * HOUR;
            // A redelivered event has its first timestamp, so one point lookup in its hour is enough.
            Bytes idKey = idKey(id);
            if (seen.fetch(idKey, start) != null) return;
            seen.put(idKey, PRESENT, start);
            byte[] u = user.getBytes(StandardCharsets.UTF_8);
            byte[] uk = new byte[u.length + 1];
            uk[0] = (byte) t;
            System.arraycopy(u, 0, uk, 1, u.length);
            Bytes userKey = Bytes.wrap(uk);
            Cell c = cell(hour, t);
            if (users.fetch(userKey, start) == null) {
                users.put(userKey, PRESENT, start);
                c.users++;
            }
            c.count++;
            c.sum += duration;
            if (enrich) ctx.forward(r.withValue(enriched(r.value(), t)), "rich");
            store.put(c.key, c.state()); // cached: reaches the changelog once per commit
            if (!c.dirty) {
                c.dirty = true;
                dirty.add(c);
            }
        }
    }

    /** Bloom filters on every level, larger memtables, one block cache for all stores. */
    public static final class RocksTuning implements RocksDBConfigSetter {
        private static final LRUCache CACHE = new LRUCache(256L << 20);
        private static final BloomFilter BLOOM = new BloomFilter(10, false);

        @Override public void setConfig(String store, Options o, Map<String, Object> configs) {
            BlockBasedTableConfig t = (BlockBasedTableConfig) o.tableFormatConfig();
            t.setBlockCache(CACHE);
            t.setFilterPolicy(BLOOM);
            t.setCacheIndexAndFilterBlocks(false);
            t.setBlockSize(16 * 1024);
            o.setTableFormatConfig(t);
            o.setOptimizeFiltersForHits(false);
            o.setWriteBufferSize(Long.getLong("memtable.mb", 32) << 20);
            o.setMaxWriteBufferNumber(3);
            o.setCompressionType(CompressionType.LZ4_COMPRESSION);
        }

        @Override public void close(String store, Options o) { }
    }

    private static StoreBuilder<WindowStore<Bytes, byte[]>> set(String name, boolean memory, Duration lateness) {
        Duration keep = lateness.plusHours(1), one = Duration.ofHours(1);
        WindowBytesStoreSupplier s = memory
            ? Stores.inMemoryWindowStore(name, keep, one, false) : Stores.persistentWindowStore(name, keep, one, false);
        return Stores.windowStoreBuilder(s, Serdes.Bytes(), Serdes.ByteArray());
    }

    static Topology build(String in, String out, String rich, long emitMs, boolean memory, Duration lateness) {
        Topology t = new Topology();
        t.addSource("in", new ByteArrayDeserializer(), new ByteArrayDeserializer(), in);
        t.addProcessor("w1", () -> new Worker(emitMs, !rich.isEmpty()), "in");
        t.addStateStore(set("dedupe", memory, lateness), "w1");
        t.addStateStore(set("users", memory, lateness), "w1");
        t.addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("agg"), Serdes.Bytes(), Serdes.ByteArray()).withCachingEnabled(), "w1");
        t.addSink("out", out, new ByteArraySerializer(), new ByteArraySerializer(), "w1");
        if (!rich.isEmpty()) t.addSink("rich", rich, new ByteArraySerializer(), new ByteArraySerializer(), "w1");
        return t;
    }
}
