// CuratorRecipes.java HOST:PORT: the recipes of Apache Curator, each used by two clients of this program, one of which loses its
// session, its connection or its server. Prints what must be the same on every ZooKeeper. "restart" on a line of its own asks whoever
// started this to kill the server and start it again, and to answer with a line.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.function.*;
import java.util.stream.*;
import org.apache.curator.framework.*;
import org.apache.curator.framework.api.transaction.*;
import org.apache.curator.framework.recipes.atomic.*;
import org.apache.curator.framework.recipes.barriers.*;
import org.apache.curator.framework.recipes.cache.*;
import org.apache.curator.framework.recipes.leader.*;
import org.apache.curator.framework.recipes.locks.*;
import org.apache.curator.framework.recipes.nodes.*;
import org.apache.curator.framework.recipes.queue.*;
import org.apache.curator.framework.recipes.shared.*;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.*;
import org.apache.curator.retry.*;
import org.apache.zookeeper.*;
import org.apache.zookeeper.data.Stat;

public class CuratorRecipes {
    static String connect;
    static final List<CuratorFramework> clients = new ArrayList<>();
    static final BufferedReader in = new BufferedReader(new InputStreamReader(System.in));

    static CuratorFramework client(int sessionMs) throws Exception {
        CuratorFramework c = CuratorFrameworkFactory.builder().connectString(connect).sessionTimeoutMs(sessionMs)
            .connectionTimeoutMs(15000).retryPolicy(new RetryNTimes(100, 100)).build();
        c.start();
        c.blockUntilConnected();
        clients.add(c);
        return c;
    }

    static CuratorFramework client() throws Exception { return client(15000); }

    static void say(String what, Object... values) {
        System.out.println(what + ": " + Arrays.stream(values).map(String::valueOf).collect(Collectors.joining(" ")));
        System.out.flush();
    }

    static byte[] bytes(String s) { return s.getBytes(StandardCharsets.UTF_8); }

    static String text(byte[] b) { return b == null ? "null" : new String(b, StandardCharsets.UTF_8); }

    static boolean soon(Callable<Boolean> check) throws Exception {
        long end = System.nanoTime() + 20_000_000_000L;
        while (System.nanoTime() < end) {
            if (check.call()) return true;
            Thread.sleep(10);
        }
        return false;
    }

    /** The process is gone and nobody closed its session: it must end by its timeout. */
    static void vanish(CuratorFramework c) throws Exception {
        var field = ZooKeeper.class.getDeclaredField("cnxn");
        field.setAccessible(true);
        ((ClientCnxn) field.get(c.getZookeeperClient().getZooKeeper())).disconnect();
    }

    /** The connection breaks; the session goes on. */
    static void cut(CuratorFramework c) throws Exception { c.getZookeeperClient().getZooKeeper().getTestable().closeSocket(); }

    /** Somebody else ends the session: the client hears "expired" when it comes back. */
    static void expire(CuratorFramework c) throws Exception {
        ZooKeeper zk = c.getZookeeperClient().getZooKeeper();
        var connected = new CountDownLatch(1);
        var twin = new ZooKeeper(connect, 15000, e -> { if (e.getState() == Watcher.Event.KeeperState.SyncConnected) connected.countDown(); },
            zk.getSessionId(), zk.getSessionPasswd());
        connected.await();
        twin.close();
    }

    static void restart() throws Exception {
        System.out.println("restart");
        System.out.flush();
        if (in.readLine() == null) throw new IOException("nobody restarts the server");
    }

    static String code(Callable<?> call) {
        try {
            return String.valueOf(call.call());
        } catch (KeeperException e) {
            return e.code().name() + (e.getResults() == null ? "" : e.getResults().stream()
                .map(r -> r instanceof OpResult.ErrorResult ? "" + ((OpResult.ErrorResult) r).getErr() : r.getClass().getSimpleName())
                .collect(Collectors.joining(",", "[", "]")));
        } catch (Exception e) {
            return e.getClass().getSimpleName();
        }
    }

    // --- locks ---

    static void mutex() throws Exception {
        CuratorFramework a = client(), b = client();
        var first = new InterProcessMutex(a, "/mutex");
        var second = new InterProcessMutex(b, "/mutex");
        first.acquire();
        first.acquire();  // the holder's thread may again
        say("mutex held", second.acquire(300, TimeUnit.MILLISECONDS), first.getParticipantNodes().size());
        first.release();
        say("mutex still held", second.acquire(300, TimeUnit.MILLISECONDS));
        first.release();
        say("mutex free", second.acquire(10, TimeUnit.SECONDS));
        second.release();
        // many threads of two clients: never two inside
        var inside = new AtomicInteger();
        var most = new AtomicInteger();
        var sum = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(8);
        var done = new ArrayList<Future<?>>();
        for (int i = 0; i < 8; i++) {
            var lock = new InterProcessMutex(i % 2 == 0 ? a : b, "/mutex");
            done.add(threads.submit(() -> {
                for (int round = 0; round < 10; round++) {
                    lock.acquire();
                    most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                    sum.incrementAndGet();
                    inside.decrementAndGet();
                    lock.release();
                }
                return null;
            }));
        }
        for (var d : done) d.get();
        threads.shutdown();
        say("mutex of eight", most, sum);
        var revoked = new CountDownLatch(1);
        first.makeRevocable(lock -> revoked.countDown());
        first.acquire();
        Revoker.attemptRevoke(b, first.getParticipantNodes().iterator().next());
        say("mutex revoked", revoked.await(10, TimeUnit.SECONDS));
        first.release();
    }

    static void mutexOfTheVanished() throws Exception {
        CuratorFramework a = client(3000), b = client();
        var held = new InterProcessMutex(a, "/vanished");
        held.acquire();
        var waiting = new InterProcessMutex(b, "/vanished");
        long begun = System.nanoTime();
        vanish(a);
        boolean got = waiting.acquire(20, TimeUnit.SECONDS);
        long ms = (System.nanoTime() - begun) / 1_000_000;
        say("mutex of one that vanished", got, ms >= 1500 ? "by its timeout" : "after " + ms, ms < 12000 ? "in time" : "after " + ms);
        waiting.release();
        // one that waits in line vanishes: who stands behind it is served
        CuratorFramework c = client(3000);
        waiting.acquire();
        var inLine = new Thread(() -> { try { new InterProcessMutex(c, "/vanished").acquire(); } catch (Exception e) { } });
        inLine.setDaemon(true);
        inLine.start();
        soon(() -> b.getChildren().forPath("/vanished").size() == 2);
        CuratorFramework d = client();
        var last = Executors.newSingleThreadExecutor();
        Future<Boolean> lastGot = last.submit(() -> new InterProcessMutex(d, "/vanished").acquire(20, TimeUnit.SECONDS));
        soon(() -> b.getChildren().forPath("/vanished").size() == 3);
        vanish(c);
        waiting.release();
        say("mutex behind one that vanished", lastGot.get());
        last.shutdown();
    }

    static void readWrite() throws Exception {
        CuratorFramework a = client(), b = client();
        var one = new InterProcessReadWriteLock(a, "/rw");
        var other = new InterProcessReadWriteLock(b, "/rw");
        one.readLock().acquire();
        say("readers together", other.readLock().acquire(5, TimeUnit.SECONDS));
        say("no writer beside readers", other.writeLock().acquire(300, TimeUnit.MILLISECONDS));
        one.readLock().release();
        other.readLock().release();
        one.writeLock().acquire();
        say("no reader beside a writer", other.readLock().acquire(300, TimeUnit.MILLISECONDS));
        say("a writer may read", one.readLock().acquire(5, TimeUnit.SECONDS));
        one.writeLock().release();
        say("downgraded", other.readLock().acquire(5, TimeUnit.SECONDS));
        one.readLock().release();
        other.readLock().release();
        one.writeLock().acquire();
        expire(a);
        say("a writer's session expired", other.writeLock().acquire(15, TimeUnit.SECONDS));
        other.writeLock().release();
        var multi = new InterProcessMultiLock(b, List.of("/multi/a", "/multi/b"));
        multi.acquire();
        say("multi lock", new InterProcessMutex(client(), "/multi/b").acquire(300, TimeUnit.MILLISECONDS));
        multi.release();
        var plain = new InterProcessSemaphoreMutex(b, "/plain");
        plain.acquire();
        say("not reentrant", plain.acquire(300, TimeUnit.MILLISECONDS));
        plain.release();
    }

    static void semaphore() throws Exception {
        CuratorFramework a = client(), b = client(3000);
        var one = new InterProcessSemaphoreV2(a, "/semaphore", 3);
        var other = new InterProcessSemaphoreV2(b, "/semaphore", 3);
        Collection<Lease> two = one.acquire(2);
        Lease third = other.acquire(5, TimeUnit.SECONDS);
        say("three leases", two.size(), third != null, one.acquire(300, TimeUnit.MILLISECONDS) == null, one.getParticipantNodes().size());
        vanish(b);
        Lease fourth = one.acquire(20, TimeUnit.SECONDS);
        say("a lease of one that vanished", fourth != null);
        one.returnAll(two);
        one.returnLease(fourth);
        var count = new SharedCount(a, "/semaphore-count", 1);
        count.start();
        var counted = new InterProcessSemaphoreV2(a, "/semaphore-counted", count);
        Lease only = counted.acquire();
        say("as many as a shared count says", counted.acquire(300, TimeUnit.MILLISECONDS) == null);
        count.setCount(2);
        say("and one more", counted.acquire(10, TimeUnit.SECONDS) != null);
        count.close();
    }

    // --- leaders ---

    static void latch() throws Exception {
        CuratorFramework a = client(), b = client(), c = client(3000);
        LeaderLatch one = new LeaderLatch(a, "/latch", "one"), two = new LeaderLatch(b, "/latch", "two"), three = new LeaderLatch(c, "/latch", "three");
        one.start();
        say("latch", one.await(10, TimeUnit.SECONDS));
        three.start();
        soon(() -> b.getChildren().forPath("/latch").size() == 2);
        two.start();
        soon(() -> b.getChildren().forPath("/latch").size() == 3);
        say("the first leads", one.hasLeadership(), two.hasLeadership(), three.getLeader().getId(), one.getParticipants().size());
        one.close();
        say("the second in line", three.await(10, TimeUnit.SECONDS));
        vanish(c);
        say("the third, when it vanished", two.await(20, TimeUnit.SECONDS));
        expire(b);
        // by now the third has a session again and stands in line
        say("its session expired", soon(() -> !two.hasLeadership() || three.hasLeadership()), soon(() -> two.hasLeadership() != three.hasLeadership()));
        two.close();
    }

    static void selector() throws Exception {
        CuratorFramework a = client(), b = client(), c = client();
        var terms = new ConcurrentLinkedQueue<String>();
        var leading = new AtomicInteger();
        var most = new AtomicInteger();
        class Term extends LeaderSelectorListenerAdapter {
            final String name;
            Term(String name) { this.name = name; }
            public void takeLeadership(CuratorFramework f) throws Exception {
                most.accumulateAndGet(leading.incrementAndGet(), Math::max);
                terms.add(name);
                try {
                    Thread.sleep(30);
                } finally {  // interrupted, when its session has expired
                    leading.decrementAndGet();
                }
            }
        }
        var selectors = List.of(new LeaderSelector(a, "/selector", new Term("a")), new LeaderSelector(b, "/selector", new Term("b")),
            new LeaderSelector(c, "/selector", new Term("c")));
        for (var s : selectors) { s.autoRequeue(); s.start(); }
        boolean all = soon(() -> terms.size() >= 9 && new HashSet<>(terms).size() == 3);
        int atOnce = most.get();
        expire(b);
        int had = terms.size();
        boolean goesOn = soon(() -> terms.stream().skip(had + 3).collect(Collectors.toSet()).size() == 3);
        for (var s : selectors) s.close();
        say("selector", all, goesOn, "at once", atOnce);
    }

    // --- barriers, counters, queues ---

    static void barriers() throws Exception {
        CuratorFramework a = client(), b = client();
        var barrier = new DistributedBarrier(a, "/barrier");
        barrier.setBarrier();
        var other = new DistributedBarrier(b, "/barrier");
        say("barrier", other.waitOnBarrier(300, TimeUnit.MILLISECONDS));
        ExecutorService pool = Executors.newCachedThreadPool();
        Future<Boolean> passed = pool.submit(() -> other.waitOnBarrier(15, TimeUnit.SECONDS));
        cut(b);
        barrier.removeBarrier();
        say("barrier removed", passed.get());
        var futures = new ArrayList<Future<String>>();
        var entered = new AtomicInteger();
        for (int i = 0; i < 5; i++) {
            CuratorFramework c = i % 2 == 0 ? a : b;
            futures.add(pool.submit(() -> {
                var both = new DistributedDoubleBarrier(c, "/double", 5);
                boolean in = both.enter(15, TimeUnit.SECONDS);
                entered.incrementAndGet();
                boolean out = both.leave(15, TimeUnit.SECONDS);
                return in + " " + out + " " + entered.get();
            }));
        }
        for (var f : futures) say("double barrier", f.get());
        pool.shutdown();
    }

    static void counters() throws Exception {
        CuratorFramework a = client(), b = client();
        ExecutorService pool = Executors.newFixedThreadPool(4);
        var retry = new RetryNTimes(10000, 1);
        var futures = new ArrayList<Future<Integer>>();
        for (int i = 0; i < 4; i++) {
            var number = new DistributedAtomicLong(i % 2 == 0 ? a : b, "/atomic", retry);
            futures.add(pool.submit(() -> {
                int succeeded = 0;
                for (int n = 0; n < 25; n++) if (number.increment().succeeded()) succeeded++;
                return succeeded;
            }));
        }
        int all = 0;
        for (var f : futures) all += f.get();
        pool.shutdown();
        var number = new DistributedAtomicLong(a, "/atomic", retry);
        say("atomic", all == number.get().postValue(), number.compareAndSet(-1L, 7L).succeeded(), number.compareAndSet((long) all, 7L).succeeded(),
            number.get().postValue(), number.subtract(9L).postValue());
        var seen = new LinkedBlockingQueue<Integer>();
        SharedCount one = new SharedCount(a, "/count", 5), two = new SharedCount(b, "/count", 99);
        one.start();
        two.start();
        two.addListener(new SharedCountListener() {
            public void countHasChanged(SharedCountReader r, int n) { seen.add(n); }
            public void stateChanged(CuratorFramework f, ConnectionState s) { }
        });
        VersionedValue<Integer> stale = one.getVersionedValue();
        one.setCount(6);
        say("shared count", seen.poll(10, TimeUnit.SECONDS), two.trySetCount(two.getVersionedValue(), 8), one.trySetCount(stale, 9));
        soon(() -> one.getCount() == 8);
        cut(b);
        one.setCount(10);
        say("shared count after a cut", soon(() -> two.getCount() == 10));
        one.close();
        two.close();
        var queue = new SimpleDistributedQueue(a, "/queue");
        for (int i = 0; i < 5; i++) queue.offer(bytes("item " + i));
        var taker = new SimpleDistributedQueue(b, "/queue");
        say("queue", text(taker.peek()), text(taker.take()), text(queue.poll()), text(taker.remove()), text(taker.poll(1, TimeUnit.SECONDS)), text(queue.poll()),
            queue.poll() == null);
    }

    // --- caches ---

    static void caches() throws Exception {
        CuratorFramework a = client(), b = client();
        a.create().forPath("/cache", bytes("0"));
        var node = new NodeCache(b, "/cache");
        node.start(true);
        var children = new PathChildrenCache(b, "/cache", true);
        var events = new ConcurrentLinkedQueue<String>();
        children.getListenable().addListener((f, e) -> events.add(e.getType() + (e.getData() == null ? "" : e.getData().getPath())));
        children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        var tree = TreeCache.newBuilder(b, "/cache").build();
        tree.start();
        var all = CuratorCache.build(b, "/cache");
        var heard = new ConcurrentLinkedQueue<String>();
        all.listenable().addListener(CuratorCacheListener.builder().forAll((type, old, now) -> heard.add(type + (now != null ? now : old).getPath())).build());
        all.start();
        soon(() -> heard.size() == 1);
        a.create().forPath("/cache/x", bytes("1"));
        soon(() -> heard.size() == 2 && events.size() == 1);
        a.setData().forPath("/cache/x", bytes("2"));
        soon(() -> heard.size() == 3 && events.size() == 2);
        a.create().forPath("/cache/x/deep", bytes("3"));
        a.setData().forPath("/cache", bytes("4"));
        soon(() -> heard.size() == 5);
        a.delete().forPath("/cache/x/deep");
        a.delete().forPath("/cache/x");
        soon(() -> heard.size() == 7 && events.size() == 3);
        say("cache events", heard);
        say("children events", events);
        say("caches", soon(() -> text(node.getCurrentData().getData()).equals("4") && tree.getCurrentChildren("/cache").isEmpty()), children.getCurrentData().size());
        // what happened while the connection was away
        var heardBefore = heard.size();
        cut(b);
        for (int i = 0; i < 20; i++) a.create().forPath("/cache/n" + i, bytes("v" + i));
        a.setData().forPath("/cache", bytes("5"));
        a.delete().forPath("/cache/n3");
        say("after a cut", soon(() -> tree.getCurrentChildren("/cache").size() == 19 && children.getCurrentData().size() == 19 && all.size() == 20
            && text(node.getCurrentData().getData()).equals("5")));
        expire(b);
        a.setData().forPath("/cache/n5", bytes("again"));
        a.delete().forPath("/cache/n4");
        say("after the session", soon(() -> tree.getCurrentChildren("/cache").size() == 18 && children.getCurrentData().size() == 18 && all.size() == 19
            && text(children.getCurrentData("/cache/n5").getData()).equals("again") && text(all.get("/cache/n5").get().getData()).equals("again")));
        restart();
        a.create().forPath("/cache/late", bytes("late"));
        say("after the server", soon(() -> tree.getCurrentChildren("/cache").size() == 19 && children.getCurrentData().size() == 19 && all.size() == 20));
        node.close();
        children.close();
        tree.close();
        all.close();
    }

    static void watchesSetAgain() throws Exception {
        CuratorFramework a = client(), b = client();
        for (String path : List.of("/w/data", "/w/gone", "/w/kids", "/w/still")) a.create().creatingParentsIfNeeded().forPath(path);
        var fired = new ConcurrentLinkedQueue<String>();
        Watcher watcher = e -> { if (e.getPath() != null) fired.add(e.getType() + e.getPath()); };
        b.getData().usingWatcher(watcher).forPath("/w/data");
        b.getData().usingWatcher(watcher).forPath("/w/gone");
        b.getData().usingWatcher(watcher).forPath("/w/still");
        b.checkExists().usingWatcher(watcher).forPath("/w/new");
        b.checkExists().usingWatcher(watcher).forPath("/w/never");
        b.getChildren().usingWatcher(watcher).forPath("/w/kids");
        var persistent = new PersistentWatcher(b, "/w", true);
        var after = new ConcurrentLinkedQueue<String>();
        persistent.getListenable().addListener(e -> { if (e.getPath() != null) after.add(e.getType() + e.getPath()); });
        persistent.start();
        b.checkExists().forPath("/");
        // a long list of paths: the client sets them in several pieces
        String name = "x".repeat(600);
        int many = 600;
        for (int i = 0; i < many; i++) b.checkExists().usingWatcher(watcher).inBackground().forPath("/w/" + name + i);
        b.checkExists().forPath("/");
        cut(b);
        a.setData().forPath("/w/data", bytes("1"));
        a.delete().forPath("/w/gone");
        a.create().forPath("/w/new");
        a.create().forPath("/w/kids/k");
        a.create().forPath("/w/" + name + "0");
        a.create().forPath("/w/" + name + (many - 1));
        say("set again", soon(() -> fired.size() == 6), new TreeSet<>(fired).stream().map(s -> s.replace(name, "...")).collect(Collectors.toList()));
        b.checkExists().forPath("/");
        after.clear();
        a.setData().forPath("/w/still", bytes("2"));
        a.create().forPath("/w/never");
        a.create().forPath("/w/" + name + "300");
        say("and go on", soon(() -> fired.size() == 9), new TreeSet<>(fired).size(), soon(() -> after.size() == 3), after.stream().map(s -> s.replace(name, "...")).collect(Collectors.toList()));
        persistent.close();
    }

    // --- znodes ---

    static void persistentNodes() throws Exception {
        CuratorFramework a = client(), b = client();
        var node = new PersistentNode(b, CreateMode.EPHEMERAL, false, "/persistent", bytes("me"));
        node.start();
        say("persistent node", node.waitForInitialCreate(10, TimeUnit.SECONDS), text(a.getData().forPath("/persistent")));
        a.delete().forPath("/persistent");
        say("deleted, and back", soon(() -> a.checkExists().forPath("/persistent") != null));
        long owner = a.checkExists().forPath("/persistent").getEphemeralOwner();
        expire(b);
        say("expired, and back", soon(() -> a.checkExists().forPath("/persistent") != null && a.checkExists().forPath("/persistent").getEphemeralOwner() != owner));
        restart();
        say("there after the server", soon(() -> a.checkExists().forPath("/persistent") != null));
        node.setData(bytes("other"));
        say("set", soon(() -> text(a.getData().forPath("/persistent")).equals("other")));
        node.close();
        say("closed", soon(() -> a.checkExists().forPath("/persistent") == null));
        GroupMember one = new GroupMember(a, "/group", "one"), two = new GroupMember(b, "/group", "two");
        one.start();
        two.start();
        say("group", soon(() -> one.getCurrentMembers().size() == 2 && two.getCurrentMembers().size() == 2));
        two.close();
        say("one left", soon(() -> one.getCurrentMembers().size() == 1));
        one.close();
    }

    static void transactions() throws Exception {
        CuratorFramework a = client();
        TransactionOp op = a.transactionOp();
        List<CuratorTransactionResult> results = a.transaction().forOperations(op.create().forPath("/t", bytes("1")), op.create().forPath("/t/x", bytes("2")),
            op.setData().withVersion(0).forPath("/t", bytes("3")), op.check().withVersion(1).forPath("/t"),
            op.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/t/s-"), op.delete().forPath("/t/x"));
        say("transaction", results.stream().map(r -> r.getType() + "=" + r.getResultPath() + "," + (r.getResultStat() == null ? "" : r.getResultStat().getVersion()) + "," + r.getError())
            .collect(Collectors.toList()));
        say("refused in the middle", code(() -> a.transaction().forOperations(op.setData().forPath("/t", bytes("no")), op.check().withVersion(9).forPath("/t"),
            op.create().forPath("/t/y"))));
        say("nothing was done", text(a.getData().forPath("/t")), code(() -> a.getChildren().forPath("/t")));
        say("refused at the end", code(() -> a.transaction().forOperations(op.create().forPath("/t/a"), op.create().forPath("/t/a/b"), op.create().forPath("/t/a"))));
        say("refused at the start", code(() -> a.transaction().forOperations(op.delete().forPath("/none"), op.create().forPath("/t/a"))));
        say("an ephemeral's child", code(() -> a.transaction().forOperations(op.create().withMode(CreateMode.EPHEMERAL).forPath("/t/e"), op.create().forPath("/t/e/c"))));
        say("a container", code(() -> a.transaction().forOperations(op.create().withMode(CreateMode.CONTAINER).forPath("/t/c")).size()));
    }

    static void kinds() throws Exception {
        CuratorFramework a = client();
        a.create().withMode(CreateMode.CONTAINER).forPath("/container");
        a.create().forPath("/container/x");
        a.delete().forPath("/container/x");
        a.create().withTtl(1500).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/ttl");
        String sequential = a.create().withTtl(1500).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath("/ttl-");
        say("a time to live", sequential.length(), a.checkExists().forPath("/ttl").getEphemeralOwner());
        say("container and ttl go", soon(() -> a.checkExists().forPath("/container") == null && a.checkExists().forPath("/ttl") == null
            && a.checkExists().forPath(sequential) == null));
        String made = a.create().creatingParentContainersIfNeeded().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/protected/p-", bytes("p"));
        say("protected", made.replaceAll("_c_[0-9a-f-]{36}", "_c_GUID"), a.getChildren().forPath("/protected").size());
        Stat stat = new Stat();
        say("stored in stat", a.create().storingStatIn(stat).creatingParentsIfNeeded().forPath("/deep/er/est", bytes("x")), stat.getDataLength(), stat.getVersion());
        say("or set", a.create().orSetData().forPath("/deep/er/est", bytes("longer")), a.checkExists().forPath("/deep/er/est").getVersion());
        a.delete().deletingChildrenIfNeeded().forPath("/deep");
        say("deleted whole", a.checkExists().forPath("/deep"));
        say("idempotent", a.create().idempotent().forPath("/idem", bytes("i")), a.create().idempotent().forPath("/idem", bytes("i")), code(() -> a.setData().idempotent().withVersion(0).forPath("/idem", bytes("j"))
            .getVersion()), code(() -> a.delete().idempotent().withVersion(1).forPath("/idem")), code(() -> a.delete().idempotent().forPath("/idem")));
        say("not there", code(() -> a.delete().forPath("/idem")), code(() -> a.setData().forPath("/idem", bytes(""))), code(() -> a.getChildren().forPath("/idem")));
    }

    static void locksOverARestart() throws Exception {
        CuratorFramework a = client(), b = client();
        var held = new InterProcessMutex(a, "/over");
        held.acquire();
        ExecutorService pool = Executors.newSingleThreadExecutor();
        Future<Boolean> got = pool.submit(() -> {
            var waiting = new InterProcessMutex(b, "/over");
            boolean mine = waiting.acquire(30, TimeUnit.SECONDS);
            return mine;
        });
        soon(() -> a.getChildren().forPath("/over").size() == 2);
        restart();
        soon(() -> a.checkExists().forPath("/over") != null);
        say("held over a restart", held.isAcquiredInThisProcess(), got.isDone(), a.getChildren().forPath("/over").size());
        held.release();
        say("then released", got.get());
        pool.shutdown();
    }

    interface Part { void run() throws Exception; }

    public static void main(String[] args) throws Exception {
        connect = args[0];
        Part[] parts = {CuratorRecipes::mutex, CuratorRecipes::mutexOfTheVanished, CuratorRecipes::readWrite, CuratorRecipes::semaphore, CuratorRecipes::latch,
            CuratorRecipes::selector, CuratorRecipes::barriers, CuratorRecipes::counters, CuratorRecipes::caches, CuratorRecipes::watchesSetAgain,
            CuratorRecipes::persistentNodes, CuratorRecipes::transactions, CuratorRecipes::kinds, CuratorRecipes::locksOverARestart};
        for (Part part : parts) {
            part.run();
            for (CuratorFramework c : clients) c.close();
            clients.clear();
        }
        say("end", parts.length);
        System.exit(0);
    }
}
