package peers;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.StateRestoreListener;

/**
 * A Kafka Streams peer, exactly-once v2. Runs until SIGTERM.
 * --mode pass|default|tuned --bootstrap --app --in --out --state DIR [--commit MS] [--threads N] [--lateness-hours H]
 * [--emit MS] [--memory 1] [--rich TOPIC] [--cache MB] [--compression C] [--keep-repartition 1] [--group-protocol streams] [--leave 1]
 */
public final class StreamsApp {
    public static void main(String[] argv) throws Exception {
        Args a = new Args(argv);
        String mode = a.s("mode", null), in = a.s("in", null), out = a.s("out", null);
        Duration lateness = Duration.ofHours(a.n("lateness-hours", 24));
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, a.s("app", null));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, a.s("bootstrap", null));
        p.put(StreamsConfig.STATE_DIR_CONFIG, a.s("state", null));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        if (a.has("commit")) p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, a.n("commit", 100));
        if (a.has("threads")) p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, (int) a.n("threads", 1));
        if (a.has("compression")) p.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), a.s("compression", "none"));
        if (a.has("keep-repartition")) p.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, 3_600_000L);
        if (a.has("group-protocol")) p.put(StreamsConfig.GROUP_PROTOCOL_CONFIG, a.s("group-protocol", "classic"));
        Topology t;
        switch (mode) {
            case "pass" -> {
                StreamsBuilder b = new StreamsBuilder();
                b.stream(in, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray())).to(out, Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
                t = b.build();
            }
            case "default" -> t = Dsl.build(in, out, lateness);
            case "tuned" -> {
                t = Tuned.build(in, out, a.s("rich", ""), a.n("emit", a.n("commit", 100)), a.has("memory"), lateness);
                p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, a.n("cache", 128) << 20);
                p.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, Tuned.RocksTuning.class);
                p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 5000);
                p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
                p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
                p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
            }
            default -> throw new IllegalArgumentException("--mode " + mode);
        }
        KafkaStreams s = new KafkaStreams(t, p);
        CountDownLatch done = new CountDownLatch(1);
        s.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        s.setStateListener((now, before) -> System.err.println(System.currentTimeMillis() + " state " + now));
        AtomicLong restored = new AtomicLong();
        s.setGlobalStateRestoreListener(new StateRestoreListener() {
            @Override public void onRestoreStart(TopicPartition tp, String store, long from, long to) { System.err.println(System.currentTimeMillis() + " restore start"); }
            @Override public void onBatchRestored(TopicPartition tp, String store, long end, long n) { restored.addAndGet(n); }
            @Override public void onRestoreEnd(TopicPartition tp, String store, long n) { System.err.println(System.currentTimeMillis() + " restore end, records so far " + restored); }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            s.close(a.has("leave") ? CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP).withTimeout(Duration.ofSeconds(20))
                : CloseOptions.timeout(Duration.ofSeconds(20)));
            done.countDown();
        }));
        s.start();
        done.await();
    }
}
