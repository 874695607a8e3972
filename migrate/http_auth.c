#include "migrate/http_peer.h"

#include <gnutls/x509.h>
#include <string.h>

/* Appends the subject of the certificate to the peer's name, for logs. */
static void note_subject(struct rt_http_peer *peer, const gnutls_datum_t *der)
{
	size_t used = strlen(peer->name);
	gnutls_x509_crt_t certificate;
	char subject[256], clean[256];
	size_t size = sizeof(subject);

	if (gnutls_x509_crt_init(&certificate) < 0)
		return;
	if (gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) == 0 && gnutls_x509_crt_get_dn(certificate, subject, &size) == 0) {
		rt_http_sentence(subject, strlen(subject), clean, sizeof(clean));
		snprintf(peer->name + used, sizeof(peer->name) - used, " (%s)", clean);
	}
	gnutls_x509_crt_deinit(certificate);
}

static bool check_certificate(struct rt_http_exchange *exchange)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	gnutls_session_t session = info ? (gnutls_session_t)info->tls_session : NULL;
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT };
	const gnutls_datum_t *certificates;
	unsigned count = 0, status = 0;
	gnutls_datum_t why;
	int result;

	certificates = session ? gnutls_certificate_get_peers(session, &count) : NULL;
	if (!certificates || count == 0) {
		rt_http_refuse(exchange, 401, "a client certificate is needed, and none was sent");
		return false;
	}
	result = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
	if (result < 0) {
		rt_http_refuse(exchange, 403, "the client certificate cannot be verified: %s", gnutls_strerror(result));
		return false;
	}
	if (status != 0) {
		if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &why, 0) < 0) {
			rt_http_refuse(exchange, 403, "the client certificate is not trusted");
			return false;
		}
		rt_http_refuse(exchange, 403, "the client certificate is refused: %s", (const char *)why.data);
		gnutls_free(why.data);
		return false;
	}
	note_subject(exchange->peer, &certificates[0]);
	return true;
}

/* Where both are configured both are needed: the options only ever narrow. */
bool rt_http_authenticated(struct rt_http_exchange *exchange)
{
	struct rt_http_server *server = exchange->peer->server;

	/* The certificate belongs to the connection, which was made with it; the token to each request. */
	if (server->client_ca && !exchange->peer->certified) {
		if (!check_certificate(exchange))
			return false;
		exchange->peer->certified = true;
	}
	if (server->token) {
		const char *header = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);

		if (!rt_http_bearer_matches(header, server->token)) {
			rt_http_refuse(exchange, 401, header ? "the token is wrong" : "a token is needed");
			return false;
		}
	}
	return true;
}
