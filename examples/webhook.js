// A bridge from HTTP to signals: other systems call back, and the execution that waits for them goes on.
//
//   node webhook.js [PORT]
//
//   POST /signals/<waitpoint>?name=<signal>   with `Authorization: Bearer <token>` and, so that a
//   repeat is harmless, `Idempotency-Key: <key>`; the body is the payload.
//
// The bridge needs the rights of ff_signaller and nothing else: the token is the authorisation, so no
// caller can reach an execution that it was not given an address of. SIGTERM ends it.
'use strict';

const http = require('node:http');
const { Pool } = require('pg');

const pool = new Pool();
const LARGEST = 64 * 1024;

// What a well-behaved sender does next is told by the status: 4xx never helps to repeat, 409 says that
// somebody else was quicker.
const STATUS = {
  FF101: 400, // invalid_input
  FF105: 413, // payload_too_large
  FF106: 429, // signal_limit_exceeded
  FF108: 403, // invalid_token
  FF130: 403, // token_expired
  FF406: 409, // waitpoint_closed
  FF407: 409, // target_not_signalable
  '22P02': 400, // the waitpoint is no uuid
};

async function body(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > LARGEST) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function deliver(request) {
  const url = new URL(request.url, 'http://localhost');
  const path = url.pathname.match(/^\/signals\/([^/]+)$/);
  if (request.method !== 'POST' || !path) return [404, { error: 'not_found' }];
  const payload = await body(request);
  if (payload === null) return [413, { error: 'payload_too_large' }];
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  try {
    const { rows } = await pool.query(
      `SELECT outcome, effect, resumed
         FROM ff_deliver_signal($1, $2, $3, $4, source_type => 'webhook', source_identity => $5,
                                idempotency_key => $6)`,
      [path[1], token, url.searchParams.get('name') ?? 'callback', payload,
        request.socket.remoteAddress ?? '', request.headers['idempotency-key'] ?? null],
    );
    return [rows[0].outcome === 'duplicate' ? 200 : 202, rows[0]];
  } catch (error) {
    const status = STATUS[error.code] ?? 503;
    // The message names the kind and never shows the token.
    return [status, { error: status === 503 ? 'unavailable' : error.message }];
  }
}

const server = http.createServer(async (request, response) => {
  const [status, answer] = await deliver(request).catch(() => [503, { error: 'unavailable' }]);
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(answer));
});

server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});

process.on('SIGTERM', () => {
  server.close(() => pool.end());
  server.closeAllConnections();
});
