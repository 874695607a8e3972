// Checks and compiles its TypeScript when it is started, as ts-node does, and serves it with express.
const ts = require('typescript');
const express = require('express');
const fs = require('fs');
const path = require('path');

const source = path.join(__dirname, 'typed.ts');
const options = { strict: true, target: ts.ScriptTarget.ES2020, module: ts.ModuleKind.CommonJS, lib: ['lib.es2020.d.ts'], types: [], skipLibCheck: true, noEmit: true };
const program = ts.createProgram([source], options);
const wrong = ts.getPreEmitDiagnostics(program);
if (wrong.length) {
  console.error(ts.formatDiagnostics(wrong, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => '/', getNewLine: () => '\n' }));
  process.exit(1);
}
const handlers = {};
new Function('exports', ts.transpile(fs.readFileSync(source, 'utf8'), options))(handlers);

const app = express();
app.get('/hello', (request, response) => response.send('hello ' + handlers.answer(request.path)));
app.listen(80, '127.0.0.1');
