"""A server of the standard library, and a table."""

import http.server

table = {str(i): [i] * 8 for i in range(200000)}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello " + str(len(table)).encode())

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", 80), Handler).serve_forever()
