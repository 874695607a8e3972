"""Answers by a model: scikit-learn and pandas are imported, and a small forest is grown of data that comes with the package, as a service of this kind would load one."""

import http.server

import pandas
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

data = load_iris(as_frame=True)
model = RandomForestClassifier(n_estimators=50, random_state=1).fit(data.data, data.target)
flower = pandas.DataFrame([[5.1, 3.5, 1.4, 0.2]], columns=data.data.columns)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello " + data.target_names[model.predict(flower)[0]].encode())

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", 80), Handler).serve_forever()
