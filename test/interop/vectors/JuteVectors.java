import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.jar.JarFile;

import org.apache.jute.BinaryInputArchive;
import org.apache.jute.BinaryOutputArchive;
import org.apache.jute.Record;

/**
 * As Vectors, for ZooKeeper's records: `java JuteVectors SEED ROUNDS` fills each record class of the jar at random
 * and prints `ZkName 0 - hex hex`, the line of `odradek wire recode msg` and its answer.
 */
public class JuteVectors {
    static Random random;

    public static void main(String[] args) throws Exception {
        random = new Random(Long.parseLong(args[0]));
        int rounds = Integer.parseInt(args[1]);
        PrintStream out = new PrintStream(System.out, false);
        TreeSet<String> names = new TreeSet<>();
        for (String path : System.getProperty("java.class.path").split(":")) {
            if (!path.endsWith(".jar")) continue;
            try (JarFile jar = new JarFile(new File(path))) {
                jar.stream().map(e -> e.getName()).filter(n -> n.matches("org/apache/zookeeper/(.*/)?(proto|data|txn|persistence)/[^$]*class"))
                    .map(n -> n.substring(0, n.length() - 6).replace('/', '.')).forEach(names::add);
            }
        }
        for (String name : names) {
            Class<?> type = Class.forName(name);
            if (!Record.class.isAssignableFrom(type)) continue;
            for (int i = 0; i < rounds; i++) {
                ByteArrayOutputStream bytes = new ByteArrayOutputStream();
                ((Record) value(type, null)).serialize(BinaryOutputArchive.getArchive(bytes), "record");
                String hex = bytes.size() == 0 ? "-" : HexFormat.of().formatHex(bytes.toByteArray());
                Record back = (Record) type.getDeclaredConstructor().newInstance();
                back.deserialize(BinaryInputArchive.getArchive(new ByteArrayInputStream(bytes.toByteArray())), "record");
                out.println("Zk" + type.getSimpleName() + " 0 - " + hex + " " + hex);
            }
        }
        out.flush();
    }

    static Object value(Class<?> type, java.lang.reflect.Type generic) throws Exception {
        if (Record.class.isAssignableFrom(type)) {
            Object record = type.getDeclaredConstructor().newInstance();
            for (Field field : type.getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers())) continue;
                field.setAccessible(true);
                field.set(record, value(field.getType(), field.getGenericType()));
            }
            return record;
        }
        boolean isNull = random.nextInt(5) == 0;
        switch (type.getSimpleName()) {
            case "int":
                return random.nextInt(3) == 0 ? -1 : random.nextInt();
            case "long":
                return random.nextLong();
            case "boolean":
                return random.nextBoolean();
            case "byte[]": {
                byte[] bytes = new byte[random.nextInt(random.nextInt(20) == 0 ? 40000 : 20)];
                random.nextBytes(bytes);
                return isNull ? null : bytes;
            }
            case "String":
                return isNull ? null : "/\u00e9\u4e2d".repeat(random.nextInt(random.nextInt(20) == 0 ? 9000 : 4));
            case "List": {
                if (isNull) return null;
                List<Object> items = new ArrayList<>();
                Class<?> element = (Class<?>) ((ParameterizedType) generic).getActualTypeArguments()[0];
                for (int i = random.nextInt(4); i > 0; i--) items.add(value(element, element));
                return items;
            }
            default:
                throw new IllegalStateException("no value for " + type);
        }
    }
}
