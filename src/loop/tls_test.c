/* tls_test.c: streams with TLS over real sockets, both ends ours but where the moment of each word matters: bytes and files whole and
 * in order, who may not in hears it, names and subjects, plain clients on the same port, moving between loops. Ports are the kernel's
 * choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/text.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "loop/tls.h"

/* --- keys and certificates, made here --- */

struct identity {
    struct text chain, key;
};

static void take_bio(BIO *bio, struct text *into)
{
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    text_add(into, (struct slice){(const uint8_t *)data, (size_t)size});
    BIO_free(bio);
}

/* For 127.0.0.1 and "here.test". Signs itself; with an `issuer`, somebody of that name did whom nobody knows. */
static void identity_make(struct identity *identity, const char *name, const char *issuer)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    assert_non_null(key);
    assert_non_null(certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Odradek", -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    EVP_PKEY *signer = issuer ? EVP_EC_gen("P-256") : key;
    if (issuer) {
        X509_NAME *other = X509_NAME_new();
        X509_NAME_add_entry_by_txt(other, "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0);
        X509_set_issuer_name(certificate, other);
        X509_NAME_free(other);
    }
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *dns = GENERAL_NAME_new(), *ip = GENERAL_NAME_new();
    ASN1_IA5STRING *host = ASN1_IA5STRING_new();
    ASN1_STRING_set(host, "here.test", -1);
    GENERAL_NAME_set0_value(dns, GEN_DNS, host);
    ASN1_OCTET_STRING *address = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(address, (const unsigned char *)"\x7f\0\0\1", 4);
    GENERAL_NAME_set0_value(ip, GEN_IPADD, address);
    sk_GENERAL_NAME_push(names, dns);
    sk_GENERAL_NAME_push(names, ip);
    X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0);
    GENERAL_NAMES_free(names);
    assert_true(X509_sign(certificate, signer, EVP_sha256()) > 0);
    if (issuer) EVP_PKEY_free(signer);

    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, certificate), 1);
    take_bio(bio, &identity->chain);
    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    take_bio(bio, &identity->key);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

struct namesake {
    bool is_authority_no_ca, is_authority_over, is_over, is_forged, is_weak, is_bounded, is_for_servers;
};

/* An authority, and a client's certificate of the very same name that it signed. */
static void namesakes_make(const struct namesake *namesake, struct identity *authority,
                           struct identity *client)
{
    EVP_PKEY *keys[3];
    for (int i = 0; i < 3; i++) keys[i] = EVP_EC_gen("P-256");
    for (int i = 0; i < 2; i++) {
        bool is_over = i == 0 ? namesake->is_authority_over : namesake->is_over;
        X509 *certificate = X509_new();
        X509_set_version(certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), i + 1);
        X509_gmtime_adj(X509_getm_notBefore(certificate), -7200);
        X509_gmtime_adj(X509_getm_notAfter(certificate), is_over ? -3600 : 3600);
        X509_set_pubkey(certificate, keys[i]);
        X509_NAME *subject = X509_get_subject_name(certificate);
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"same", -1, -1, 0);
        X509_set_issuer_name(certificate, subject);
        X509V3_CTX about;
        X509V3_set_ctx(&about, certificate, certificate, NULL, NULL, 0);
        const char *constraints = i == 0 && !namesake->is_authority_no_ca ? "critical,CA:TRUE" : "CA:FALSE";
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &about, NID_basic_constraints, constraints);
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
        if (i == 0 && namesake->is_bounded) {
            extension = X509V3_EXT_conf_nid(NULL, &about, NID_name_constraints, "permitted;DNS:here.test");
            X509_add_ext(certificate, extension, -1);
            X509_EXTENSION_free(extension);
        }
        if (i == 1 && namesake->is_for_servers) {
            extension = X509V3_EXT_conf_nid(NULL, &about, NID_ext_key_usage, "serverAuth");
            X509_add_ext(certificate, extension, -1);
            X509_EXTENSION_free(extension);
        }
        EVP_PKEY *signer = i == 1 && namesake->is_forged ? keys[2] : keys[0];
        assert_true(X509_sign(certificate, signer, i == 1 && namesake->is_weak ? EVP_sha1() : EVP_sha256()) >
                    0);
        struct identity *identity = i == 0 ? authority : client;
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_X509(bio, certificate), 1);
        take_bio(bio, &identity->chain);
        bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PrivateKey(bio, keys[i], NULL, NULL, 0, NULL, NULL), 1);
        take_bio(bio, &identity->key);
        X509_free(certificate);
    }
    for (int i = 0; i < 3; i++) EVP_PKEY_free(keys[i]);
}

static void identity_free(struct identity *identity)
{
    text_free(&identity->chain);
    text_free(&identity->key);
}

static struct tls_context *context_new(const struct identity *own, const struct identity *trusted,
                                       bool is_server, enum tls_peer_check peer)
{
    struct tls_config config = {.is_server = is_server, .peer = peer};
    if (own) {
        config.chain = text_slice(&own->chain);
        config.key = text_slice(&own->key);
    }
    if (trusted) config.trust = text_slice(&trusted->chain);
    struct tls_context *context = NULL;
    struct text why = {0};
    enum error err = tls_context_new(&config, &context, &why);
    if (err != OK) print_error("%s\n", why.data);
    assert_int_equal(err, OK);
    text_free(&why);
    return context;
}

/* --- two ends --- */

struct end {
    struct world *world;
    struct stream *stream;
    struct text got;
    enum error closed;
    bool reads_slowly; /* one small read for each call */
    int calls;
};

struct world {
    struct descriptors *descriptors;
    struct loop *loop;
    struct disk *disk;
    struct listener *listener;
    struct loop_timer alarm;
    struct tls_context *server_context;
    struct tls_start server_start;
    struct end server, client;
    size_t wanted; /* the loop stops when the server (or the client) has so much */
    struct identity server_identity, client_identity;
};

static void stop_when_done(struct world *world)
{
    if (world->server.got.size >= world->wanted && world->client.got.size >= world->wanted)
        loop_stop(world->loop);
    if (world->server.closed != OK || world->client.closed != OK) loop_stop(world->loop);
}

static void on_readable(void *context)
{
    struct end *end = context;
    end->calls++;
    uint8_t bytes[4096];
    size_t got;
    enum error err;
    do {
        err = stream_read(end->stream, bytes, end->reads_slowly ? 100 : sizeof bytes, &got);
        if (err == OK) text_add(&end->got, (struct slice){bytes, got});
    } while (err == OK && !end->reads_slowly);
    stop_when_done(end->world);
}

static void on_closed(void *context, enum error err)
{
    struct end *end = context;
    end->closed = err;
    stop_when_done(end->world);
}

static const struct stream_events events = {on_readable, NULL, on_closed};

static void end_begin(struct end *end, struct stream *stream)
{
    end->stream = stream;
    stream_set_events(stream, &events, end);
    stream_set_reading(stream, true);
}

static void on_accept(void *context, struct stream *stream)
{
    struct world *world = context;
    if (world->server_context)
        assert_int_equal(stream_start_tls(stream, world->server_context, &world->server_start), OK);
    end_begin(&world->server, stream);
}

static void on_alarm(struct loop_timer *timer)
{
    loop_stop(CONTAINER_OF(timer, struct world, alarm)->loop);
}

struct dial {
    struct world *world;
    struct tls_context *context;
    struct tls_start start;
};

static void on_connected(void *context, enum error err, struct stream *stream)
{
    struct dial *dial = context;
    assert_int_equal(err, OK);
    if (dial->context) assert_int_equal(stream_start_tls(stream, dial->context, &dial->start), OK);
    end_begin(&dial->world->client, stream);
    loop_stop(dial->world->loop);
}

static int world_setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->descriptors = descriptors_new(0);
    assert_int_equal(loop_new(world->descriptors, &world->loop), OK);
    world->disk = disk_new(world->descriptors);
    world->alarm.run = on_alarm;
    world->server.world = world->client.world = world;
    identity_make(&world->server_identity, "server", NULL);
    identity_make(&world->client_identity, "client, the \"first\"", NULL);
    assert_int_equal(stream_listen(world->loop, "127.0.0.1", 0, 0, on_accept, world, &world->listener), OK);
    *state = world;
    return 0;
}

static int world_teardown(void **state)
{
    struct world *world = *state;
    if (world->server.stream) stream_close(&world->server.stream);
    if (world->client.stream) stream_close(&world->client.stream);
    text_free(&world->server.got);
    text_free(&world->client.got);
    listener_close(&world->listener);
    tls_context_release(&world->server_context);
    identity_free(&world->server_identity);
    identity_free(&world->client_identity);
    loop_timer_stop(world->loop, &world->alarm);
    loop_free(world->loop);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
    free(world);
    return 0;
}

/* Until there is what the test waits for; a minute is never reached. */
static void run(struct world *world)
{
    loop_timer_start(world->loop, &world->alarm, 60000);
    loop_run(world->loop);
    assert_true(loop_timer_running(&world->alarm));
    loop_timer_stop(world->loop, &world->alarm);
}

static void dial(struct world *world, struct tls_context *context, const struct tls_start *start)
{
    struct dial dial = {.world = world, .context = context, .start = start ? *start : (struct tls_start){0}};
    struct connecting *connecting;
    assert_int_equal(stream_connect(world->loop, "127.0.0.1", listener_port(world->listener), 10000,
                                    on_connected, &dial, &connecting),
                     OK);
    run(world);
    tls_context_release(&dial.context);
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

static struct bytes *patterned(size_t from, size_t size)
{
    struct bytes *bytes = bytes_new(size);
    for (size_t i = 0; i < size; i++) bytes->data[i] = pattern(from + i);
    bytes->size = size;
    return bytes;
}

static void assert_patterned(const struct end *end, size_t size)
{
    assert_int_equal(end->got.size, size);
    for (size_t i = 0; i < size; i++) {
        if ((uint8_t)end->got.data[i] != pattern(i)) fail_msg("byte %zu differs", i);
    }
}

/* --- tests --- */

static void bytes_go_both_ways(void **state)
{
    struct world *world = *state;
    enum { SMALL = 20, PIECES = 400, LARGE = 3 << 20, ALL = SMALL * PIECES + LARGE };
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    struct tls_start start = {.host = "here.test", .checks_host = true};
    dial(world, context_new(NULL, &world->server_identity, false, TLS_PEER_NEEDED), &start);
    world->wanted = 1;
    assert_int_equal(stream_write(world->client.stream, patterned(0, 1), 0, 1), OK);
    world->client.got = (struct text){0};
    text_addc(&world->client.got, 0); /* only the server waits */
    run(world);
    text_free(&world->client.got);
    for (int i = 0; i < 2; i++) {
        struct end *from = i ? &world->server : &world->client;
        size_t at = i ? 0 : 1;
        for (; at < SMALL * PIECES; at += SMALL - at % SMALL) {
            size_t size = SMALL - at % SMALL;
            assert_int_equal(stream_write(from->stream, patterned(at, size), 0, size), OK);
        }
        assert_int_equal(stream_write(from->stream, patterned(at, LARGE), 0, LARGE), OK);
    }
    world->wanted = ALL;
    run(world);
    assert_patterned(&world->server, ALL);
    assert_patterned(&world->client, ALL);
    assert_true(stream_is_tls(world->server.stream));
    struct text subject = {0};
    assert_true(stream_tls_peer(world->client.stream, &subject));
    assert_string_equal(subject.data, "CN=server,O=Odradek");
    assert_false(stream_tls_peer(world->server.stream, &subject));
    text_free(&subject);

    stream_finish(world->client.stream);
    run(world);
    assert_int_equal(world->server.closed, ERR_EOF);
}

static void files_go_out(void **state)
{
    struct world *world = *state;
    enum { SIZE = 700000, CUT = 30000 };
    char directory[] = "/tmp/odradek-tls-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/f", directory);
    struct file *file;
    assert_int_equal(file_open(world->disk, path, FILE_WRITE | FILE_CREATE, &file), OK);
    struct bytes *content = patterned(0, SIZE);
    assert_int_equal(file_pwrite(file, content->data, SIZE, 0), OK);
    bytes_release(&content);
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    dial(world, context_new(NULL, NULL, false, TLS_PEER_ANY), NULL);
    text_addc(&world->server.got, 0);
    world->wanted = 1;
    assert_int_equal(stream_write_file(world->client.stream, file_retain(file), 0, CUT, NULL, NULL), OK);
    assert_int_equal(stream_write_file(world->client.stream, file, CUT, SIZE - CUT, NULL, NULL), OK);
    text_reset(&world->server.got);
    for (size_t i = 0; i < SIZE; i++) text_addc(&world->client.got, 0);
    world->wanted = SIZE;
    run(world);
    assert_patterned(&world->server, SIZE);
    assert_int_equal(disk_remove_tree(world->disk, directory), OK);
}

/* What the session holds decrypted is not announced by the socket again. */
static void a_slow_reader_gets_all(void **state)
{
    struct world *world = *state;
    enum { SIZE = 10000 };
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    world->server.reads_slowly = true;
    dial(world, context_new(NULL, NULL, false, TLS_PEER_ANY), NULL);
    for (size_t i = 0; i < SIZE; i++) text_addc(&world->client.got, 0);
    assert_int_equal(stream_write(world->client.stream, patterned(0, SIZE), 0, SIZE), OK);
    world->wanted = SIZE / 2;
    run(world);
    stream_set_reading(world->server.stream, false);
    int calls = world->server.calls;
    loop_timer_start(world->loop, &world->alarm, 5);
    loop_run(world->loop);
    assert_int_equal(world->server.calls, calls);
    stream_set_reading(world->server.stream, true);
    world->wanted = SIZE;
    run(world);
    assert_patterned(&world->server, SIZE);
}

static void who_is_not_trusted_is_refused(void **state)
{
    struct world *world = *state;
    world->wanted = SIZE_MAX;
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    dial(world, context_new(NULL, &world->client_identity, false, TLS_PEER_NEEDED), NULL);
    run(world);
    assert_int_equal(world->client.closed, ERR_TLS);
}

/* As in Java: what a trust store holds is believed, whoever signed it. */
static void a_certificate_that_is_itself_trusted_needs_no_issuer(void **state)
{
    struct world *world = *state;
    struct identity issued = {0};
    identity_make(&issued, "issued", "an authority");
    world->server_context = context_new(&issued, NULL, true, TLS_PEER_ANY);
    dial(world, context_new(NULL, &issued, false, TLS_PEER_NEEDED), NULL);
    text_addc(&world->client.got, 0);
    world->wanted = 1;
    assert_int_equal(stream_write(world->client.stream, patterned(0, 1), 0, 1), OK);
    run(world);
    assert_int_equal(world->client.closed, OK);
    identity_free(&issued);
}

static void a_wrong_name_is_refused(void **state)
{
    struct world *world = *state;
    world->wanted = SIZE_MAX;
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    struct tls_start start = {.host = "elsewhere.test", .checks_host = true};
    dial(world, context_new(NULL, &world->server_identity, false, TLS_PEER_NEEDED), &start);
    run(world);
    assert_int_equal(world->client.closed, ERR_TLS);
}

static void an_address_is_a_name(void **state)
{
    struct world *world = *state;
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    struct tls_start start = {.host = "127.0.0.1", .checks_host = true};
    dial(world, context_new(NULL, &world->server_identity, false, TLS_PEER_NEEDED), &start);
    text_addc(&world->client.got, 0);
    world->wanted = 1;
    assert_int_equal(stream_write(world->client.stream, patterned(0, 1), 0, 1), OK);
    run(world);
    assert_int_equal(world->client.closed, OK);
}

static void a_client_without_a_certificate_is_refused(void **state)
{
    struct world *world = *state;
    world->wanted = SIZE_MAX;
    world->server_context =
        context_new(&world->server_identity, &world->client_identity, true, TLS_PEER_NEEDED);
    dial(world, context_new(NULL, &world->server_identity, false, TLS_PEER_NEEDED), NULL);
    run(world);
    assert_true(world->server.closed == ERR_TLS || world->client.closed == ERR_TLS);
}

/* The server trusts `authority`, and knows this client by that name. */
static void expect_known(struct world *world, const struct identity *authority, const struct identity *client,
                         const char *subject_wanted)
{
    world->server_context = context_new(&world->server_identity, authority, true, TLS_PEER_NEEDED);
    dial(world, context_new(client, &world->server_identity, false, TLS_PEER_NEEDED), NULL);
    text_addc(&world->client.got, 0);
    world->wanted = 1;
    assert_int_equal(stream_write(world->client.stream, patterned(0, 1), 0, 1), OK);
    run(world);
    struct text subject = {0};
    assert_true(stream_tls_peer(world->server.stream, &subject));
    assert_string_equal(subject.data, subject_wanted);
    text_free(&subject);
}

static void a_client_is_known_by_its_subject(void **state)
{
    struct world *world = *state;
    expect_known(world, &world->client_identity, &world->client_identity,
                 "CN=client\\, the \\\"first\\\",O=Odradek");
}

/* OpenSSL takes it for one that signed itself; Java asks who did. */
static void a_client_may_bear_its_authoritys_name(void **state)
{
    struct world *world = *state;
    struct identity authority = {0}, client = {0};
    namesakes_make(&(struct namesake){0}, &authority, &client);
    expect_known(world, &authority, &client, "CN=same");
    identity_free(&authority);
    identity_free(&client);
}

/* Whoever poses as the authority, and whomever it could not vouch for. */
static void others_of_that_name_are_refused(void **state)
{
    static const struct namesake kinds[] = {
        {.is_forged = true}, {.is_over = true},    {.is_authority_over = true}, {.is_authority_no_ca = true},
        {.is_weak = true},   {.is_bounded = true}, {.is_for_servers = true}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (i > 0) assert_int_equal(world_setup(state), 0);
        struct world *world = *state;
        struct identity authority = {0}, client = {0};
        namesakes_make(&kinds[i], &authority, &client);
        world->wanted = SIZE_MAX;
        world->server_context = context_new(&world->server_identity, &authority, true, TLS_PEER_NEEDED);
        dial(world, context_new(&client, &world->server_identity, false, TLS_PEER_NEEDED), NULL);
        run(world);
        if (world->server.closed != ERR_TLS && world->client.closed != ERR_TLS) fail_msg("kind %zu", i);
        identity_free(&authority);
        identity_free(&client);
        if (i + 1 < sizeof kinds / sizeof *kinds) assert_int_equal(world_teardown(state), 0);
    }
}

static void a_port_may_take_both(void **state)
{
    struct world *world = *state;
    world->server_start.admits_plain = true;
    for (int with_tls = 0; with_tls < 2; with_tls++) {
        if (!world->server_context)
            world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
        dial(world, with_tls ? context_new(NULL, NULL, false, TLS_PEER_ANY) : NULL, NULL);
        text_addc(&world->client.got, 0);
        world->wanted = 1;
        assert_int_equal(stream_write(world->client.stream, patterned(0, 1), 0, 1), OK);
        run(world);
        assert_int_equal(world->server.got.size, 1);
        assert_int_equal(stream_is_tls(world->server.stream), with_tls);
        stream_close(&world->server.stream);
        stream_close(&world->client.stream);
        text_free(&world->server.got);
        text_free(&world->client.got);
    }
}

static void garbage_is_refused(void **state)
{
    struct world *world = *state;
    world->wanted = SIZE_MAX;
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    dial(world, NULL, NULL);
    assert_int_equal(stream_write(world->client.stream, patterned(0, 200), 0, 200), OK);
    run(world);
    assert_int_equal(world->server.closed, ERR_TLS);
}

static void a_stream_moves_with_its_session(void **state)
{
    struct world *world = *state;
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    dial(world, context_new(NULL, NULL, false, TLS_PEER_ANY), NULL);
    text_addc(&world->client.got, 0);
    world->wanted = 1;
    assert_int_equal(stream_write(world->client.stream, patterned(0, 10), 0, 10), OK);
    run(world);
    struct detached_stream *detached;
    stream_set_reading(world->server.stream, false);
    assert_int_equal(stream_detach(&world->server.stream, &detached), OK);
    assert_int_equal(stream_attach(world->loop, &detached, &world->server.stream), OK);
    end_begin(&world->server, world->server.stream);
    assert_int_equal(stream_write(world->client.stream, patterned(10, 10), 0, 10), OK);
    for (int i = 1; i < 20; i++) text_addc(&world->client.got, 0);
    world->wanted = 20;
    run(world);
    assert_patterned(&world->server, 20);
}

static void send_all(int fd, BIO *out)
{
    char *data;
    long size = BIO_get_mem_data(out, &data);
    assert_int_equal(send(fd, data, (size_t)size, 0), size);
    (void)BIO_reset(out);
}

/* A client whose words go out when the test says so: the last of the handshake and the first request come together, and our end of
 * the handshake is the end of a turn that began for another reason. The socket has nothing more to announce then. */
static void what_comes_with_the_last_word_is_delivered(void **state)
{
    struct world *world = *state;
    world->server_context = context_new(&world->server_identity, NULL, true, TLS_PEER_ANY);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(listener_port(world->listener)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *client = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(client, in, out);
    SSL_set_connect_state(client);
    while (SSL_do_handshake(client) != 1) {
        send_all(fd, out);
        loop_timer_start(world->loop, &world->alarm, 1);
        loop_run(world->loop);
        uint8_t answer[16384];
        ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (got > 0) assert_int_equal(BIO_write(in, answer, (int)got), got);
    }
    struct bytes *request = patterned(0, 100);
    assert_int_equal(SSL_write(client, request->data, 100), 100);
    bytes_release(&request);
    send_all(fd, out);

    assert_int_equal(stream_write(world->server.stream, patterned(0, 10), 0, 10), OK);
    for (int i = 0; i < 100; i++) text_addc(&world->client.got, 0);
    world->wanted = 100;
    run(world);
    assert_patterned(&world->server, 100);
    SSL_free(client);
    SSL_CTX_free(context);
    close(fd);
}

static void bad_material_is_named(void **state)
{
    struct world *world = *state;
    struct tls_context *context = NULL;
    struct text why = {0};
    struct tls_config config = {.is_server = true};
    assert_int_equal(tls_context_new(&config, &context, &why), ERR_CONFIG);
    assert_non_null(strstr(why.data, "key and a certificate"));
    text_reset(&why);
    config.chain = text_slice(&world->server_identity.chain);
    config.key = text_slice(&world->client_identity.key);
    assert_int_equal(tls_context_new(&config, &context, &why), ERR_CONFIG);
    assert_non_null(strstr(why.data, "does not belong"));
    text_reset(&why);
    config.key = SLICE("nothing");
    assert_int_equal(tls_context_new(&config, &context, &why), ERR_CONFIG);
    assert_non_null(strstr(why.data, "private key"));
    text_reset(&why);
    config.key = text_slice(&world->server_identity.key);
    config.protocols = "SSLv3";
    assert_int_equal(tls_context_new(&config, &context, &why), ERR_CONFIG);
    assert_non_null(strstr(why.data, "TLSv1.2"));
    text_reset(&why);
    config.protocols = "TLSv1.2";
    config.ciphers = "TLS_NO_SUCH_WITH_NULL";
    assert_int_equal(tls_context_new(&config, &context, &why), ERR_CONFIG);
    config.ciphers = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256";
    assert_int_equal(tls_context_new(&config, &context, &why), OK);
    tls_context_release(&context);
    text_free(&why);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_both_ways),
        TEST(files_go_out),
        TEST(a_slow_reader_gets_all),
        TEST(who_is_not_trusted_is_refused),
        TEST(a_certificate_that_is_itself_trusted_needs_no_issuer),
        TEST(a_wrong_name_is_refused),
        TEST(an_address_is_a_name),
        TEST(a_client_without_a_certificate_is_refused),
        TEST(a_client_is_known_by_its_subject),
        TEST(a_client_may_bear_its_authoritys_name),
        TEST(others_of_that_name_are_refused),
        TEST(a_port_may_take_both),
        TEST(garbage_is_refused),
        TEST(a_stream_moves_with_its_session),
        TEST(what_comes_with_the_last_word_is_delivered),
        TEST(bad_material_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
