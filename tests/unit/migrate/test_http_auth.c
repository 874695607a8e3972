/* Who may speak: tokens, and certificates that certtool makes for this test. */
#include "http_test.h"

#include <ftw.h>
#include <sys/wait.h>

static char directory[64];

static const char *in_directory(const char *name)
{
	static char paths[8][128];
	static unsigned next;
	char *path = paths[next++ % RT_ARRAY_SIZE(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static const char *write_file(const char *name, const char *text, mode_t mode)
{
	const char *path = in_directory(name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	return path;
}

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* NAME.key and NAME.pem, signed by `ca` or by itself. `template` says for what, in certtool's words. */
static void make_certificate(const char *name, const char *ca, const char *template)
{
	_cleanup_free_ char *command = NULL;
	_cleanup_free_ char *sign = NULL;

	write_file("template", template, 0600);
	if (ca)
		succeeds(rt_format(&sign, "--generate-certificate --load-ca-certificate %s.pem --load-ca-privkey %s.key", ca, ca));
	else
		succeeds(rt_format(&sign, "--generate-self-signed"));
	succeeds(rt_format(&command,
			   "cd '%s' && exec 2>/dev/null && certtool --generate-privkey --key-type ecdsa --curve secp256r1 --outfile %s.key && "
			   "certtool %s --load-privkey %s.key --template template --outfile %s.pem", directory, name, sign, name, name));
	assert_int_equal(run(command), 0);
}

static int make_files(void **state)
{
	snprintf(directory, sizeof(directory), "/tmp/rt-test-http.XXXXXX");
	assert_non_null(mkdtemp(directory));
	write_file("token", TOKEN "\n", 0600);
	write_file("wrong-token", "fedcba9876543210-token\n", 0400);
	if (run("certtool --version >/dev/null 2>&1") != 0)
		return 0;
	make_certificate("ca", NULL, "cn = \"CA\"\nca\ncert_signing_key\nexpiration_days = 10\n");
	make_certificate("other-ca", NULL, "cn = \"other CA\"\nca\ncert_signing_key\nexpiration_days = 10\n");
	make_certificate("server", "ca", "cn = \"target\"\ndns_name = \"localhost\"\ntls_www_server\nsigning_key\nexpiration_days = 10\n");
	make_certificate("other-name", "ca", "cn = \"target\"\ndns_name = \"elsewhere\"\ntls_www_server\nsigning_key\nexpiration_days = 10\n");
	make_certificate("client", "ca", "cn = \"hosta\"\ntls_www_client\nsigning_key\nexpiration_days = 10\n");
	make_certificate("stranger", "other-ca", "cn = \"hosta\"\ntls_www_client\nsigning_key\nexpiration_days = 10\n");
	make_certificate("expired", "ca", "cn = \"hosta\"\ntls_www_client\nsigning_key\nactivation_date = \"2020-01-01\"\n"
					  "expiration_date = \"2020-02-01\"\n");
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
	return remove(path);
}

static int remove_files(void **state)
{
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void need_certificates(void)
{
	if (access(in_directory("client.pem"), R_OK) < 0)
		skip();
}

static void only_the_token_opens_the_door(void **state)
{
	struct rt_http_client_options right = { .token_file = in_directory("token") }, wrong = { .token_file = in_directory("wrong-token") };
	struct source source = { .left = 1ull << 30 };
	struct pair pair;

	start_with((struct rt_http_server_options){ .token_file = in_directory("token") });
	pair = connect_with(right);
	succeeds(post(&pair, "/v1/echo/w", "x", NULL));
	fails(get(&pair, "/v1/not-there", NULL), RT_PEER, "status 404");
	disconnect(&pair);
	assert_int_equal(service.begun, 1);

	pair = connect_with(wrong);
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "the token is wrong (status 401");
	fails(get(&pair, "/v1/echo/w", NULL), RT_PEER, "the token is wrong (status 401");
	fails(upload(&pair, "/v1/sink", &source, NULL), RT_PEER, "the token is wrong (status 401");
	/* Which paths there are is no stranger's business. */
	fails(get(&pair, "/v1/not-there", NULL), RT_PEER, "status 401");
	fails(get(&pair, "/v1/sink", NULL), RT_PEER, "status 401");
	disconnect(&pair);

	pair = connect_with((struct rt_http_client_options){ 0 });
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "a token is needed (status 401");
	assert_int_equal(service.begun, 1);
	succeeds(get(&pair, "/v1/health", NULL));
	disconnect(&pair);
	ask_path("GET", "/v1/echo/w", "HTTP/1.1 401");
	ask_text("GET /v1/echo/w HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic " TOKEN "\r\n\r\n", "HTTP/1.1 401");
	ask_text("GET /v1/echo/w HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \r\n\r\n", "HTTP/1.1 401");
	assert_int_equal(service.begun, 2);
	stop();
}

static struct rt_error *start_fails(struct rt_http_server_options options)
{
	struct rt_http_server *server;

	if (!options.listen)
		options.listen = "127.0.0.1:0";
	return rt_http_server_start(&options, routes, NULL, &server);
}

static struct rt_error *client_fails(struct rt_http_client_options options)
{
	struct rt_http_client *client;

	options.url = "https://hostb:7443";
	return rt_http_client_new(&options, &client);
}

static void token_files_must_be_secret_and_hold_a_token(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		const char *why;
	} cases[] = {
		{ TOKEN, 0640, "has mode 0640" },
		{ TOKEN, 0604, "has mode 0604" },
		{ "short", 0600, "must hold one line" },
		{ "", 0600, "must hold one line" },
		{ "two lines of token\nand more\n", 0600, "must hold one line" },
		{ "0123456789abcdef\r\nX: y", 0600, "must hold one line" },
	};
	size_t i;

	for (i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		const char *path = write_file("bad-token", cases[i].text, cases[i].mode);

		fails(start_fails((struct rt_http_server_options){ .token_file = path }), RT_CONFIG, cases[i].why);
		fails(start_fails((struct rt_http_server_options){ .token_file = path }), RT_CONFIG, "bad-token");
		fails(client_fails((struct rt_http_client_options){ .token_file = path }), RT_CONFIG, cases[i].why);
	}
	fails(start_fails((struct rt_http_server_options){ .token_file = in_directory("none") }), RT_SYSTEM, "cannot open the token file");
	fails(client_fails((struct rt_http_client_options){ .token_file = directory }), RT_CONFIG, "not a regular file");
	fails(client_fails((struct rt_http_client_options){ .ca_file = in_directory("none") }), RT_USAGE, "cannot read the CA");
	fails(client_fails((struct rt_http_client_options){ .cert_file = in_directory("token") }), RT_USAGE, "one of the two is missing");
}

static void a_server_without_protection_is_refused(void **state)
{
	_cleanup_free_ char *busy = NULL;

	fails(start_fails((struct rt_http_server_options){ .listen = "0.0.0.0:0" }), RT_USAGE, "without TLS");
	fails(start_fails((struct rt_http_server_options){ .listen = "[::]:0" }), RT_USAGE, "without TLS");
	fails(start_fails((struct rt_http_server_options){ .listen = "0.0.0.0:0", .token_file = in_directory("token") }), RT_USAGE, "without TLS");
	fails(start_fails((struct rt_http_server_options){ .cert_file = "x", .key_file = "y" }), RT_USAGE, "everybody could connect");
	fails(start_fails((struct rt_http_server_options){ .cert_file = "x" }), RT_USAGE, "one of the two is missing");
	fails(start_fails((struct rt_http_server_options){ .client_ca_file = "x" }), RT_USAGE, "need TLS");
	fails(start_fails((struct rt_http_server_options){ .listen = "127.0.0.1" }), RT_USAGE, "not an address to listen on");
	fails(start_fails((struct rt_http_server_options){ .listen = "192.0.2.77:1", .insecure = true }), RT_SYSTEM, "cannot listen on '192.0.2.77:1'");
	start_with((struct rt_http_server_options){ .listen = "0.0.0.0:0", .insecure = true });
	busy = strdup(rt_http_server_address(service.server));
	fails(start_fails((struct rt_http_server_options){ .listen = busy, .insecure = true }), RT_SYSTEM, "address already in use");
	stop();
}

/* On the name the certificate has. */
static void use_localhost(void)
{
	char port[8];

	snprintf(port, sizeof(port), "%s", strrchr(service.url, ':') + 1);
	snprintf(service.url, sizeof(service.url), "https://localhost:%s", port);
}

static struct rt_http_server_options tls_server(const char *client_ca, const char *token)
{
	return (struct rt_http_server_options){ .cert_file = in_directory("server.pem"), .key_file = in_directory("server.key"),
						.client_ca_file = client_ca ? in_directory(client_ca) : NULL,
						.token_file = token ? in_directory(token) : NULL };
}

static struct pair connect_as(const char *cert, const char *key, const char *token)
{
	return connect_with((struct rt_http_client_options){ .ca_file = in_directory("ca.pem"), .cert_file = cert ? in_directory(cert) : NULL,
							     .key_file = key ? in_directory(key) : NULL,
							     .token_file = token ? in_directory(token) : NULL });
}

static void only_certificates_of_the_ca_open_the_door(void **state)
{
	struct source source = { .left = 16 << 20 }, refused = { .left = 1ull << 30 };
	struct pair pair;

	need_certificates();
	start_with(tls_server("ca.pem", NULL));
	use_localhost();
	pair = connect_as("client.pem", "client.key", NULL);
	succeeds(post(&pair, "/v1/echo/w", "x", NULL));
	assert_non_null(strstr(service.peer, " (CN=hosta)"));
	succeeds(upload(&pair, "/v1/sink", &source, NULL));
	disconnect(&pair);
	assert_int_equal(service.begun, 2);

	pair = connect_as("stranger.pem", "stranger.key", NULL);
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "the client certificate is refused: ");
	fails(upload(&pair, "/v1/sink", &refused, NULL), RT_PEER, "(status 403 of POST /v1/sink)");
	disconnect(&pair);
	pair = connect_as("expired.pem", "expired.key", NULL);
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "expired");
	disconnect(&pair);
	/* That of a server is not for clients. */
	pair = connect_as("server.pem", "server.key", NULL);
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "the client certificate is refused: ");
	disconnect(&pair);
	pair = connect_as(NULL, NULL, NULL);
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "a client certificate is needed, and none was sent (status 401");
	fails(get(&pair, "/v1/not-there", NULL), RT_PEER, "status 401");
	assert_int_equal(service.begun, 2);
	succeeds(get(&pair, "/v1/health", NULL));
	disconnect(&pair);
	stop();
}

static void a_refusal_in_the_middle_arrives_over_tls_too(void **state)
{
	struct pair pair;
	int i;

	need_certificates();
	start_with(tls_server(NULL, "token"));
	use_localhost();
	pair = connect_as(NULL, NULL, "token");
	for (i = 0; i < 10; i++) {
		struct source source = { .left = 1ull << 30 };

		service.received = 0;
		service.refuse_at = 1 + (unsigned long long)i * 1234567;
		fails(upload(&pair, "/v1/sink", &source, NULL), RT_PEER, "the disk of this host is full after ");
	}
	succeeds(get(&pair, "/v1/health", NULL));
	disconnect(&pair);
	stop();
}

static void a_certificate_and_a_token_are_both_needed_where_both_are_configured(void **state)
{
	struct pair pair;

	need_certificates();
	start_with(tls_server("ca.pem", "token"));
	use_localhost();
	pair = connect_as("client.pem", "client.key", "token");
	succeeds(post(&pair, "/v1/echo/w", "x", NULL));
	disconnect(&pair);
	pair = connect_as("client.pem", "client.key", NULL);
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "a token is needed");
	disconnect(&pair);
	pair = connect_as(NULL, NULL, "token");
	fails(post(&pair, "/v1/echo/w", "x", NULL), RT_PEER, "a client certificate is needed");
	disconnect(&pair);
	stop();
}

static void the_client_trusts_only_its_ca_and_the_right_name(void **state)
{
	struct rt_http_server_options options;
	struct pair pair;

	need_certificates();
	options = tls_server(NULL, "token");
	start_with(options);
	use_localhost();
	pair = connect_with((struct rt_http_client_options){ .ca_file = in_directory("other-ca.pem"), .token_file = in_directory("token") });
	fails(get(&pair, "/v1/health", NULL), RT_PEER, "ertificate");
	disconnect(&pair);
	/* The system's CAs don't know ours. */
	pair = connect_with((struct rt_http_client_options){ .token_file = in_directory("token") });
	fails(get(&pair, "/v1/health", NULL), RT_PEER, "ertificate");
	disconnect(&pair);
	assert_int_equal(service.begun, 0);
	stop();

	options.cert_file = in_directory("other-name.pem");
	options.key_file = in_directory("other-name.key");
	start_with(options);
	use_localhost();
	pair = connect_as(NULL, NULL, "token");
	fails(get(&pair, "/v1/health", NULL), RT_PEER, "ertificate");
	disconnect(&pair);
	assert_int_equal(service.begun, 0);
	stop();
}

static void certificate_files_that_cannot_be_used_are_named(void **state)
{
	struct rt_http_server_options options;

	need_certificates();
	options = tls_server("token", NULL);
	fails(start_fails(options), RT_CONFIG, "the CA for client certificates");
	options = tls_server("ca.pem", NULL);
	options.key_file = in_directory("client.key");
	fails(start_fails(options), RT_CONFIG, "cannot be used");
	options = tls_server("ca.pem", NULL);
	options.cert_file = in_directory("none");
	fails(start_fails(options), RT_SYSTEM, "reading the certificate");
	assert_int_equal(chmod(in_directory("server.key"), 0644), 0);
	fails(start_fails(tls_server("ca.pem", NULL)), RT_CONFIG, "has mode 0644");
	assert_int_equal(chmod(in_directory("server.key"), 0600), 0);
}

/* Through another implementation, so that it is not only our client that fails. */
static void old_tls_is_refused(void **state)
{
	_cleanup_free_ char *old = NULL, *new = NULL;
	const char *format = "gnutls-cli --priority '%s' --x509cafile '%s/ca.pem' --port %s localhost </dev/null >/dev/null 2>&1";
	const char *port;

	need_certificates();
	if (run("gnutls-cli --version >/dev/null 2>&1") != 0)
		skip();
	start_with(tls_server(NULL, "token"));
	port = strrchr(service.url, ':') + 1;
	succeeds(rt_format(&old, format, "LEGACY:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0", directory, port));
	succeeds(rt_format(&new, format, "NORMAL:-VERS-ALL:+VERS-TLS1.2", directory, port));
	assert_int_equal(run(new), 0);
	assert_int_not_equal(run(old), 0);
	stop();
}

static void plain_http_to_a_tls_port_reaches_nobody(void **state)
{
	need_certificates();
	start_with(tls_server(NULL, "token"));
	ask_path("GET", "/v1/health", "");
	assert_int_equal(service.begun, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_token_opens_the_door),
		cmocka_unit_test(token_files_must_be_secret_and_hold_a_token),
		cmocka_unit_test(a_server_without_protection_is_refused),
		cmocka_unit_test(only_certificates_of_the_ca_open_the_door),
		cmocka_unit_test(a_refusal_in_the_middle_arrives_over_tls_too),
		cmocka_unit_test(a_certificate_and_a_token_are_both_needed_where_both_are_configured),
		cmocka_unit_test(the_client_trusts_only_its_ca_and_the_right_name),
		cmocka_unit_test(certificate_files_that_cannot_be_used_are_named),
		cmocka_unit_test(old_tls_is_refused),
		cmocka_unit_test(plain_http_to_a_tls_port_reaches_nobody),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
