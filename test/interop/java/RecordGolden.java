/* RecordGolden.java: writes src/wire/record_golden.inc with Apache's own classes (kafka-clients 3.9), and checks batches of ours.
 *
 *     java -cp 'JARS/*' RecordGolden.java > src/wire/record_golden.inc       make the golden bytes
 *     src/record_test --emit | java -cp 'JARS/*' RecordGolden.java check  read ours: prints what it saw, exit 1 on a lie
 *
 * Contents follow one rule, so that both sides can make them anew: record i of n has timestamp 1700000000000 + 10 i, key
 * "key-i" (null where i % 5 is 4), value "value-i" and i * 7 times the letter 'a' + i % 26 (null where i % 11 is 10),
 * and, in magic 2, i % 3 headers "h0" = "x0", "h1" = null.
 */
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;

class RecordGolden {
    static final long START = 1700000000000L;

    static byte[] key(int i) {
        return i % 5 == 4 ? null : ("key-" + i).getBytes(StandardCharsets.UTF_8);
    }

    static byte[] value(int i) {
        if (i % 11 == 10) return null;
        return ("value-" + i + String.valueOf((char) ('a' + i % 26)).repeat(i * 7)).getBytes(StandardCharsets.UTF_8);
    }

    static Header[] headers(int i) {
        Header[] headers = new Header[i % 3];
        if (headers.length > 0) headers[0] = new RecordHeader("h0", "x0".getBytes(StandardCharsets.UTF_8));
        if (headers.length > 1) headers[1] = new RecordHeader("h1", null);
        return headers;
    }

    static String hex(ByteBuffer buffer) {
        StringBuilder text = new StringBuilder();
        ByteBuffer bytes = buffer.duplicate();
        while (bytes.hasRemaining()) text.append(String.format("%02x", bytes.get()));
        return text.toString();
    }

    static void emit(String name, int magic, int codec, int count, ByteBuffer bytes) {
        String hex = hex(bytes);
        System.out.printf("{\"%s\", %d, %d, %d,%n", name, magic, codec, count);
        for (int at = 0; at < hex.length(); at += 100) {
            System.out.printf(" \"%s\"%n", hex.substring(at, Math.min(at + 100, hex.length())));
        }
        System.out.println("},");
    }

    static void golden() {
        System.out.println("/* Made by test/interop/java/RecordGolden.java with Apache's classes: {name, magic, codec, records, hex}. */");
        for (byte magic = 0; magic <= 2; magic++) {
            for (CompressionType type : CompressionType.values()) {
                if (magic < 2 && type == CompressionType.ZSTD) continue;
                for (int count : new int[] {1, 40}) {
                    MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), magic,
                        Compression.of(type).build(), TimestampType.CREATE_TIME, 0L);
                    for (int i = 0; i < count; i++) {
                        if (magic == 2) builder.append(START + 10L * i, key(i), value(i), headers(i));
                        else builder.append(magic == 0 ? -1L : START + 10L * i, key(i), value(i));
                    }
                    emit(type.name + "_v" + magic + "_" + count, magic, type.id, count, builder.build().buffer());
                }
            }
        }
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), (byte) 2, Compression.NONE,
            TimestampType.CREATE_TIME, 0L, RecordBatch.NO_TIMESTAMP, 4711L, (short) 3, Integer.MAX_VALUE - 1, true, 9);
        for (int i = 0; i < 4; i++) builder.append(START + 10L * i, key(i), value(i), headers(i));
        emit("transactional", 2, 0, 4, builder.build().buffer());
        builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), (byte) 2, Compression.NONE,
            TimestampType.LOG_APPEND_TIME, 100L, START + 999);
        for (int i = 0; i < 4; i++) builder.append(START + 10L * i, key(i), value(i), headers(i));
        emit("append_time", 2, 0, 4, builder.build().buffer());
        emit("commit_marker", 2, 0, 0, MemoryRecords.withEndTransactionMarker(0L, START, RecordBatch.NO_PARTITION_LEADER_EPOCH,
            4711L, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 12)).buffer());
        ByteBuffer empty = ByteBuffer.allocate(61);
        DefaultRecordBatch.writeEmptyHeader(empty, (byte) 2, 4711L, (short) 3, 17, 50L, 59L, 5, TimestampType.CREATE_TIME,
            START, true, false);
        empty.flip();
        emit("empty", 2, 0, 0, empty);
    }

    /* Lines "name count hex" of ours. */
    static int check() {
        int bad = 0, good = 0;
        Scanner in = new Scanner(System.in);
        while (in.hasNextLine()) {
            String[] fields = in.nextLine().trim().split(" ");
            if (fields.length != 3) continue;
            int count = Integer.parseInt(fields[1]);
            byte[] bytes = new byte[fields[2].length() / 2];
            for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) Integer.parseInt(fields[2].substring(2 * i, 2 * i + 2), 16);
            int i = 0;
            try {
                for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
                    batch.ensureValid();
                    for (org.apache.kafka.common.record.Record record : batch) {
                        record.ensureValid();
                        ByteBuffer key = key(i) == null ? null : ByteBuffer.wrap(key(i));
                        ByteBuffer value = value(i) == null ? null : ByteBuffer.wrap(value(i));
                        if (!Objects.equals(record.key(), key) || !Objects.equals(record.value(), value)
                            || (batch.magic() == 2 && !Arrays.equals(record.headers(), headers(i)))
                            || (batch.magic() > 0 && record.timestamp() != START + 10L * i) || record.offset() != i) {
                            throw new RuntimeException("record " + i + " differs");
                        }
                        i++;
                    }
                }
                if (i != count) throw new RuntimeException(i + " records, not " + count);
                good++;
            } catch (RuntimeException e) {
                bad++;
                System.out.println(fields[0] + ": " + e);
            }
        }
        System.out.println(good + " batches read as written, " + bad + " not");
        return bad == 0 && good > 0 ? 0 : 1;
    }

    public static void main(String[] args) {
        if (args.length > 0 && args[0].equals("check")) System.exit(check());
        golden();
    }
}
