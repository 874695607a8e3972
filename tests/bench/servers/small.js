// A server of the standard library, and a table.
const http = require('http');
const table = new Map();

for (let i = 0; i < 200000; i++)
  table.set('k' + i, { i, s: 'x' + i });
http.createServer((request, response) => response.end('hello ' + table.size)).listen(80, '127.0.0.1');
