// AdminRequests.java HOST:PORT CASES: sends the requests of a file, in each version it names, and prints one line an answer, freed
// of what may differ between two brokers that behave alike: words of messages, ids, sizes, times, order.
//
// A case is "API VERSIONS {json}": fields as Kafka's message classes name them; those that a version lacks are left out. ${v} is
// the version, ${id:NAME} the id of a topic. "produce TOPIC PARTITION COUNT" writes that many records, "pause MS" waits.
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class AdminRequests {
    static final ObjectMapper JSON = new ObjectMapper();
    static DataOutputStream out;
    static DataInputStream in;
    // What is shown of long lists of settings.
    static final Set<String> KEYS = Set.of("retention.ms", "cleanup.policy", "max.message.bytes", "min.insync.replicas", "segment.bytes",
        "message.max.bytes", "log.retention.hours", "broker.id", "num.partitions", "compression.type", "flush.messages",
        "leader.replication.throttled.replicas", "root");

    // Words are ours; of defaults we name more (log.retention.hours behind retention.ms), and in version 0 we say which they are.
    static final Set<String> UNSAID = Set.of("throttleTimeMs", "errorMessage", "isDefault");

    static Object call(String type, String method, Object... arguments) throws Exception {
        for (var m : Class.forName("org.apache.kafka.common.message." + type).getMethods()) {
            if (m.getName().equals(method) && m.getParameterCount() == arguments.length) return m.invoke(null, arguments);
        }
        throw new NoSuchMethodException(type + "." + method);
    }

    static JsonNode ask(ApiKeys api, short version, JsonNode body) throws Exception {
        ApiMessage request = (ApiMessage) call(api.name + "RequestDataJsonConverter", "read", body, version);
        short headerVersion = api.requestHeaderVersion(version);
        var header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion(version).setCorrelationId(7).setClientId("t");
        var cache = new ObjectSerializationCache();
        int size = header.size(cache, headerVersion) + request.size(cache, version);
        ByteBuffer frame = ByteBuffer.allocate(size);
        header.write(new ByteBufferAccessor(frame), cache, headerVersion);
        request.write(new ByteBufferAccessor(frame), cache, version);
        out.writeInt(size);
        out.write(frame.array());
        out.flush();
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        var accessor = new ByteBufferAccessor(ByteBuffer.wrap(answer));
        new ResponseHeaderData().read(accessor, api.responseHeaderVersion(version));
        ApiMessage response = ApiMessageType.fromApiKey(api.id).newResponse();
        response.read(accessor, version);
        if (accessor.remaining() > 0) throw new IOException(api + " v" + version + ": bytes behind the answer");
        return (JsonNode) call(api.name + "ResponseDataJsonConverter", "write", response, version);
    }

    static JsonNode plain(String field, JsonNode node) {
        switch (field) {
        case "documentation": return node.isNull() || node.asText().isEmpty() ? node : TextNode.valueOf("...");
        case "logDir": return TextNode.valueOf("...");
        case "topicId": return TextNode.valueOf(node.asText().equals("AAAAAAAAAAAAAAAAAAAAAA") ? "none" : "some");
        case "totalBytes", "usableBytes", "partitionSize": return LongNode.valueOf(Long.signum(node.asLong()));
        default:
        }
        if (node.isObject()) {
            ObjectNode kept = JSON.createObjectNode();
            node.fields().forEachRemaining(e -> {
                if (!UNSAID.contains(e.getKey())) kept.set(e.getKey(), plain(e.getKey(), e.getValue()));
            });
            return kept;
        }
        if (node.isArray()) {
            var items = new ArrayList<JsonNode>();
            for (JsonNode item : node) {
                if (field.equals("configs") && !KEYS.contains(item.get("name").asText())) continue;
                if (field.equals("synonyms") && item.get("source").asInt() == 5) continue;
                JsonNode shown = plain("", item);
                if (!items.contains(shown)) items.add(shown); // what was named twice may be answered once
            }
            if (!field.equals("synonyms")) items.sort(Comparator.comparing(JsonNode::toString));
            return JSON.createArrayNode().addAll(items);
        }
        return node;
    }

    static String topicId(String name) throws Exception {
        JsonNode body = JSON.readTree("{\"topics\":[{\"topicId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"name\":\"" + name
            + "\"}],\"allowAutoTopicCreation\":false,\"includeTopicAuthorizedOperations\":false}");
        return ask(ApiKeys.METADATA, (short) 12, body).get("topics").get(0).get("topicId").asText();
    }

    static void produce(String bootstrap, String topic, int partition, int count) throws Exception {
        try (var producer = new KafkaProducer<byte[], byte[]>(Map.of("bootstrap.servers", bootstrap), new ByteArraySerializer(),
                                                              new ByteArraySerializer())) {
            for (int i = 0; i < count; i++) producer.send(new ProducerRecord<>(topic, partition, new byte[] {(byte) i}, new byte[10])).get();
        }
    }

    public static void main(String[] args) throws Exception {
        String[] place = args[0].split(":");
        Socket socket = new Socket(place[0], Integer.parseInt(place[1]));
        out = new DataOutputStream(new BufferedOutputStream(socket.getOutputStream()));
        in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            if (line.isBlank()) continue;
            if (line.startsWith("#")) {
                System.out.println(line);
                continue;
            }
            String[] words = line.split(" ", 3);
            if (words[0].equals("pause")) {
                Thread.sleep(Integer.parseInt(words[1])); // until Apache's own watches have brought what it has answered
                continue;
            }
            if (words[0].equals("produce")) {
                String[] what = line.split(" ");
                produce(args[0], what[1], Integer.parseInt(what[2]), Integer.parseInt(what[3]));
                continue;
            }
            ApiKeys api = Arrays.stream(ApiKeys.values()).filter(k -> k.name.equals(words[0])).findFirst().orElseThrow();
            String[] range = words[1].split("-");
            for (int v = Integer.parseInt(range[0]); v <= Integer.parseInt(range[range.length - 1]); v++) {
                String text = words[2].replace("${v}", "" + v);
                for (int at; (at = text.indexOf("${id:")) >= 0;) {
                    int end = text.indexOf('}', at);
                    text = text.substring(0, at) + topicId(text.substring(at + 5, end)) + text.substring(end + 1);
                }
                System.out.println(words[0] + " " + v + " " + plain("", ask(api, (short) v, JSON.readTree(text))));
            }
        }
    }
}
