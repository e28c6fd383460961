// Clients.java: Apache's own Java clients of any version from 2.1: admin, idempotent producer, two members of a group,
// commit, seek, offsets by time, describe, delete.
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.*;

public class Clients {
    static void check(boolean fact, String what) {
        if (!fact) throw new AssertionError(what);
    }

    static Properties common(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.serializer", StringSerializer.class.getName());
        p.put("value.serializer", StringSerializer.class.getName());
        p.put("key.deserializer", StringDeserializer.class.getName());
        p.put("value.deserializer", StringDeserializer.class.getName());
        return p;
    }

    static void produce(String bootstrap, String codec, int count) throws Exception {
        Properties p = common(bootstrap);
        p.put("enable.idempotence", "true");
        p.put("acks", "all");
        p.put("compression.type", codec);
        p.put("linger.ms", "5");
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(p)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++) sent.add(producer.send(new ProducerRecord<>("java", "k" + i % 50, codec + i)));
            Set<String> places = new HashSet<>();
            for (Future<RecordMetadata> f : sent) places.add(f.get().partition() + ":" + f.get().offset());
            check(places.size() == count, "offsets are not unique");
        }
    }

    static void consume(String bootstrap, int members, int count) throws Exception {
        Set<String> seen = ConcurrentHashMap.newKeySet();
        ExecutorService pool = Executors.newFixedThreadPool(members);
        List<Future<?>> running = new ArrayList<>();
        for (int m = 0; m < members; m++) {
            running.add(pool.submit(() -> {
                Properties p = common(bootstrap);
                p.put("group.id", "java-group");
                p.put("auto.offset.reset", "earliest");
                p.put("enable.auto.commit", "false");
                p.put("max.poll.interval.ms", "20000");
                try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p)) {
                    consumer.subscribe(Collections.singletonList("java"));
                    long deadline = System.currentTimeMillis() + 60000;
                    while (seen.size() < count && System.currentTimeMillis() < deadline) {
                        for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(200))) seen.add(r.value());
                        try {
                            consumer.commitSync();
                        } catch (CommitFailedException rebalanced) {
                            continue;
                        }
                    }
                }
                return null;
            }));
        }
        for (Future<?> f : running) f.get(90, TimeUnit.SECONDS);
        pool.shutdown();
        check(seen.size() == count, "saw " + seen.size() + " of " + count);
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        try (AdminClient admin = AdminClient.create(common(bootstrap))) {
            check(admin.describeCluster().nodes().get().size() == 1, "one node");
            NewTopic topic = new NewTopic("java", 4, (short) 1).configs(Collections.singletonMap("segment.bytes", "1048576"));
            admin.createTopics(Collections.singletonList(topic)).all().get();
            try {
                admin.createTopics(Collections.singletonList(topic)).all().get();
                check(false, "created twice");
            } catch (ExecutionException e) {
                check(e.getCause() instanceof TopicExistsException, e.toString());
            }
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, "java");
            Config config = admin.describeConfigs(Collections.singletonList(resource)).all().get().get(resource);
            check(config.get("segment.bytes").value().equals("1048576"), "segment.bytes");
            admin.createPartitions(Collections.singletonMap("java", NewPartitions.increaseTo(6))).all().get();
            int count = 0;
            for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
                produce(bootstrap, codec, 400);
                count += 400;
            }
            consume(bootstrap, 2, count);
            Map<TopicPartition, OffsetAndMetadata> offsets =
                admin.listConsumerGroupOffsets("java-group").partitionsToOffsetAndMetadata().get();
            long committed = 0;
            for (OffsetAndMetadata o : offsets.values()) if (o != null) committed += o.offset();
            check(committed == count, "committed " + committed);
            check(admin.listConsumerGroups().all().get().size() == 1, "one group");
            check(admin.describeConsumerGroups(Collections.singletonList("java-group")).all().get().size() == 1, "described");
            try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(common(bootstrap))) {
                TopicPartition zero = new TopicPartition("java", 0);
                consumer.assign(Collections.singletonList(zero));
                consumer.seekToBeginning(Collections.singletonList(zero));
                check(consumer.position(zero) == 0, "beginning");
                long end = consumer.endOffsets(Collections.singletonList(zero)).get(zero);
                check(end > 0, "end");
                check(consumer.offsetsForTimes(Collections.singletonMap(zero, 0L)).get(zero).offset() == 0, "time");
                consumer.seek(zero, end - 1);
                check(consumer.poll(Duration.ofSeconds(10)).count() >= 1, "the last record");
                check(consumer.partitionsFor("java").size() == 6, "partitions");
            }
            admin.deleteConsumerGroups(Collections.singletonList("java-group")).all().get();
            admin.deleteTopics(Collections.singletonList("java")).all().get();
            check(!admin.listTopics().names().get().contains("java"), "deleted");
        }
        System.out.println("ok");
    }
}
