import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.File;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import java.util.jar.JarFile;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;

/**
 * Writes vectors with Apache's own message classes, whatever release is on the class path:
 *
 *     java Vectors rpc|msg SEED ROUNDS
 *
 * Each line is a question to `odradek wire recode` and, as a fifth field, Apache's answer: what its class wrote
 * after it had read those bytes, or ERR where it threw. Instances are filled by reflection along the class's
 * schema of the version: at defaults, empty, null, at the limits of each type, at random, with unknown tags; then
 * the bytes of some of them are damaged.
 */
public class Vectors {
    enum Mode { DEFAULT, EMPTY, NULL, LIMITS, RANDOM, UNKNOWN_TAGS }

    /** Two releases have two forms of one version; damaged, one may pass for the other. */
    static final List<String> EARLY = List.of("ReadShareGroupStateSummaryResponseData", "ShareGroupMetadataValue");

    static Random random;
    static Mode mode;
    static BufferedWriter out;
    static long lines;
    static final Map<Class<?>, Map<String, Field>> fieldsOf = new HashMap<>();

    public static void main(String[] args) throws Exception {
        random = new Random(Long.parseLong(args[1]));
        int rounds = Integer.parseInt(args[2]);
        out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.US_ASCII), 1 << 20);
        if (args[0].equals("rpc")) {
            for (ApiMessageType api : ApiMessageType.values()) {
                rpc(api, "request", rounds);
                rpc(api, "response", rounds);
            }
        } else {
            for (Class<?> type : recordClasses()) {
                vectors(type, type.getSimpleName().replaceFirst("HeaderData$", "Header"), "-", rounds);
            }
        }
        out.flush();
        System.err.println(lines + " lines");
    }

    static void rpc(ApiMessageType api, String direction, int rounds) throws Exception {
        ApiMessage message;
        try {
            message = direction.equals("request") ? api.newRequest() : api.newResponse();
        } catch (RuntimeException removed) {
            return;
        }
        vectors(message.getClass(), String.valueOf(api.apiKey()), direction, rounds);
    }

    /** What the coordinators keep in internal topics, what clients embed, and control records. */
    static List<Class<?>> recordClasses() throws Exception {
        TreeSet<String> names = new TreeSet<>();
        for (String path : System.getProperty("java.class.path").split(":")) {
            if (!path.endsWith(".jar")) continue;
            try (JarFile jar = new JarFile(new File(path))) {
                jar.stream().map(e -> e.getName()).filter(n -> n.endsWith(".class") && !n.contains("$"))
                    .filter(n -> n.matches("org/apache/kafka/coordinator/[a-z]+/generated/.*")
                        || n.startsWith("org/apache/kafka/common/message/"))
                    .map(n -> n.substring(0, n.length() - 6).replace('/', '.'))
                    .filter(n -> !n.endsWith("JsonConverter") && !n.endsWith("RequestData") && !n.endsWith("ResponseData"))
                    .forEach(names::add);
            }
        }
        List<Class<?>> types = new ArrayList<>();
        for (String name : names) {
            Class<?> type = Class.forName(name);
            if (ApiMessage.class.isAssignableFrom(type)) types.add(type);
        }
        return types;
    }

    static void vectors(Class<?> type, String name, String direction, int rounds) throws Exception {
        Message sample = (Message) type.getDeclaredConstructor().newInstance();
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        for (short version = sample.lowestSupportedVersion(); version <= sample.highestSupportedVersion(); version++) {
            for (Mode m : Mode.values()) {
                mode = m;
                int times = m == Mode.RANDOM ? rounds : m == Mode.UNKNOWN_TAGS ? rounds / 2 + 1
                    : m == Mode.LIMITS ? 3 : 1;
                for (int i = 0; i < times; i++) {
                    Message message = (Message) type.getDeclaredConstructor().newInstance();
                    fill(message, schemas[version]);
                    byte[] bytes;
                    try {
                        bytes = write(message, version);
                    } catch (NullPointerException e) {
                        continue; // schemas call all records nullable; the class knows better
                    }
                    line(name, version, direction, bytes, answer(type, version, bytes));
                    if ((m == Mode.RANDOM || m == Mode.UNKNOWN_TAGS) && !EARLY.contains(type.getSimpleName())) {
                        byte[] damaged = damage(bytes);
                        String answer = answer(type, version, damaged);
                        if (answer != null) line(name, version, direction, damaged, answer);
                    }
                }
            }
        }
    }

    static void line(String name, short version, String direction, byte[] bytes, String answer) throws IOException {
        String hex = bytes.length == 0 ? "-" : HexFormat.of().formatHex(bytes);
        out.write(name + ' ' + version + ' ' + direction + ' ' + hex + ' ' + answer + '\n');
        lines++;
    }

    static byte[] write(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) throw new IllegalStateException(message + " is shorter than its size");
        return buffer.array();
    }

    /** What Apache makes of the bytes; null where its releases disagree. */
    static String answer(Class<?> type, short version, byte[] bytes) throws Exception {
        try {
            Message message = (Message) type.getDeclaredConstructor().newInstance();
            message.read(new ByteBufferAccessor(ByteBuffer.wrap(bytes)), version);
            byte[] again = write(message, version);
            return again.length == 0 ? "-" : HexFormat.of().formatHex(again);
        } catch (RuntimeException | OutOfMemoryError refused) {
            /* 4.x refuses a tag that 3.9 does not know and carries on in these versions; we do as 3.9. */
            boolean isLate = type.getSimpleName().matches("BrokerHeartbeatRequestData|FetchRequestData")
                && String.valueOf(refused.getMessage()).startsWith("Tag 1 is not valid");
            return isLate ? null : "ERR";
        }
    }

    /** A few bytes changed, cut off, doubled, or added. */
    static byte[] damage(byte[] bytes) {
        if (bytes.length == 0) return new byte[] {(byte) random.nextInt(256)};
        byte[] damaged = bytes.clone();
        switch (random.nextInt(4)) {
            case 0:
                return java.util.Arrays.copyOf(bytes, random.nextInt(bytes.length));
            case 1: {
                byte[] longer = java.util.Arrays.copyOf(bytes, bytes.length + 1 + random.nextInt(8));
                for (int i = bytes.length; i < longer.length; i++) longer[i] = (byte) random.nextInt(256);
                return longer;
            }
            case 2: {
                int at = random.nextInt(bytes.length);
                byte[] inserted = new byte[bytes.length + 1];
                System.arraycopy(bytes, 0, inserted, 0, at);
                inserted[at] = (byte) (random.nextBoolean() ? 0x80 : random.nextInt(256));
                System.arraycopy(bytes, at, inserted, at + 1, bytes.length - at);
                return inserted;
            }
            default:
                for (int i = 1 + random.nextInt(3); i > 0; i--) {
                    damaged[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
                }
                return damaged;
        }
    }

    /** Schemas spell names with underscores, classes with capitals, and KRaft either way. */
    static String plain(String name) {
        return name.replace("_", "").toLowerCase();
    }

    static Map<String, Field> fields(Class<?> type) {
        return fieldsOf.computeIfAbsent(type, t -> {
            Map<String, Field> found = new HashMap<>();
            for (Field field : t.getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers())) continue;
                field.setAccessible(true);
                found.put(plain(field.getName()), field);
            }
            return found;
        });
    }

    static void fill(Object message, Schema schema) throws Exception {
        if (mode == Mode.DEFAULT) return;
        Map<String, Field> fields = fields(message.getClass());
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields) {
                for (var tagged : taggedFields(bound.def.type).values()) {
                    if (mode == Mode.RANDOM && random.nextInt(3) == 0) continue;
                    set(message, fields, tagged.name, tagged.type);
                }
                if (mode == Mode.UNKNOWN_TAGS && random.nextInt(2) == 0) {
                    fields.get("unknowntaggedfields").set(message, unknownTags());
                }
            } else {
                set(message, fields, bound.def.name, bound.def.type);
            }
        }
    }

    @SuppressWarnings("unchecked")
    static Map<Integer, org.apache.kafka.common.protocol.types.Field> taggedFields(Object type) throws Exception {
        Field field = TaggedFields.class.getDeclaredField("fields");
        field.setAccessible(true);
        return (Map<Integer, org.apache.kafka.common.protocol.types.Field>) field.get(type);
    }

    static List<RawTaggedField> unknownTags() {
        TreeSet<Integer> tags = new TreeSet<>();
        int[] edges = {9, 42, 126, 127, 128, 129, 16383, 16384, 1 << 21, Integer.MAX_VALUE - 1};
        for (int i = 1 + random.nextInt(4); i > 0; i--) tags.add(edges[random.nextInt(edges.length)]);
        List<RawTaggedField> fields = new ArrayList<>();
        for (int tag : tags) fields.add(new RawTaggedField(tag, randomBytes(random.nextInt(20) == 0 ? 300 : random.nextInt(6))));
        return fields;
    }

    static void set(Object message, Map<String, Field> fields, String name,
                    org.apache.kafka.common.protocol.types.Type type) throws Exception {
        Field field = fields.get(plain(name));
        if (field == null) throw new IllegalStateException(message.getClass() + " lacks " + name);
        boolean mayBeNull = type.isNullable() && !field.getType().isPrimitive();
        if (mayBeNull && (mode == Mode.NULL || (mode != Mode.LIMITS && random.nextInt(4) == 0))) {
            field.set(message, null);
            return;
        }
        field.set(message, value(field.getGenericType(), field.getType(), type));
    }

    @SuppressWarnings("unchecked")
    static Object value(Type generic, Class<?> type, org.apache.kafka.common.protocol.types.Type schema) throws Exception {
        if (Collection.class.isAssignableFrom(type)) {
            Collection<Object> items;
            Type elementType;
            if (type == List.class) {
                items = new ArrayList<>();
                elementType = ((ParameterizedType) generic).getActualTypeArguments()[0];
            } else {
                items = (Collection<Object>) type.getDeclaredConstructor().newInstance();
                elementType = Class.forName(type.getName().substring(0, type.getName().length() - "Collection".length()));
            }
            int count = mode == Mode.EMPTY || mode == Mode.NULL ? 0 : random.nextInt(4);
            if (mode == Mode.RANDOM && random.nextInt(200) == 0) count = 130;
            Class<?> element = elementType instanceof Class ? (Class<?>) elementType : Object.class;
            if (count == 130 && Message.class.isAssignableFrom(element)) count = 2;
            for (int i = 0; i < count; i++) items.add(value(elementType, element, schema.arrayElementType().get()));
            return items;
        }
        if (Message.class.isAssignableFrom(type)) {
            Object message = type.getDeclaredConstructor().newInstance();
            fill(message, (Schema) schema);
            return message;
        }
        String kind = type.getSimpleName();
        switch (kind) {
            case "boolean":
            case "Boolean":
                return mode != Mode.EMPTY && random.nextBoolean();
            case "byte":
            case "Byte":
                return (byte) number(Byte.MIN_VALUE, Byte.MAX_VALUE);
            case "short":
            case "Short":
                return (short) number(Short.MIN_VALUE, Short.MAX_VALUE);
            case "int":
            case "Integer":
                return schema.toString().equals("UINT16") ? (int) number(0, 65535)
                    : (int) number(Integer.MIN_VALUE, Integer.MAX_VALUE);
            case "long":
            case "Long":
                return schema.toString().equals("UINT32") ? number(0, 0xffffffffL)
                    : number(Long.MIN_VALUE, Long.MAX_VALUE);
            case "double":
            case "Double":
                return mode == Mode.EMPTY ? 0.0 : mode == Mode.LIMITS
                    ? new double[] {Double.MAX_VALUE, -0.0, Double.NEGATIVE_INFINITY, Double.MIN_VALUE}[random.nextInt(4)]
                    : random.nextGaussian();
            case "Uuid":
                return mode == Mode.EMPTY || random.nextInt(8) == 0 ? Uuid.ZERO_UUID
                    : new Uuid(number(Long.MIN_VALUE, Long.MAX_VALUE), random.nextLong());
            case "String":
                return string();
            case "byte[]":
                return runOfBytes();
            case "ByteBuffer":
                return ByteBuffer.wrap(runOfBytes());
            case "BaseRecords":
                return records(type, runOfBytes());
            default:
                throw new IllegalStateException("no value for " + type);
        }
    }

    /** MemoryRecords over any bytes; its package differs between releases. */
    static Object records(Class<?> base, byte[] bytes) throws Exception {
        Class<?> memory = Class.forName(base.getPackageName() + ".MemoryRecords");
        Method readable = memory.getMethod("readableRecords", ByteBuffer.class);
        return readable.invoke(null, ByteBuffer.wrap(bytes));
    }

    static long number(long min, long max) {
        if (mode == Mode.EMPTY) return 0;
        if (mode == Mode.LIMITS) return random.nextBoolean() ? min : max;
        switch (random.nextInt(6)) {
            case 0:
                return 0;
            case 1:
                return min < 0 ? -1 : 1;
            case 2:
                return random.nextInt(100);
            default:
                return min == Long.MIN_VALUE ? random.nextLong() : min + (long) (random.nextDouble() * (max - min));
        }
    }

    static String string() {
        if (mode == Mode.EMPTY || mode == Mode.NULL) return "";
        if (mode == Mode.LIMITS) return random.nextInt(6) == 0 ? "x".repeat(32767) : "\u0000\u007f\u0080\u07ff\uffff\ud83d\ude00";
        if (random.nextInt(40) == 0) return "y".repeat(120 + random.nextInt(20));
        String alphabet = "abcdefghij-._XYZ0123456789\u00e9\u4e2d";
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(9); i > 0; i--) text.append(alphabet.charAt(random.nextInt(alphabet.length())));
        return text.toString();
    }

    static byte[] runOfBytes() {
        if (mode == Mode.EMPTY || mode == Mode.NULL) return new byte[0];
        return randomBytes(mode == Mode.LIMITS && random.nextInt(8) == 0 ? 17000
            : random.nextInt(30) == 0 ? 126 + random.nextInt(4) : random.nextInt(12));
    }

    static byte[] randomBytes(int size) {
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        return bytes;
    }
}
