// What both stand-ins need around the provider engine: settings, keys, a login page, a record of
// the requests, and a life that ends with the process that started them.

import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';

// settings reads PROVIDER_CONFIG, a JSON object:
//   port      on 127.0.0.1; 0 or absent picks a free one
//   clients   client metadata by its registered names
//   accounts  [{ sub, acr, amr, claims }], offered on the login page in this order
//   origin    what browsers see instead of http://127.0.0.1:port, behind a proxy for https
// The stand-ins add members of their own, named where they read them.
export function settings() {
  const { port = 0, clients = [], accounts = [], ...rest } = JSON.parse(
    process.env.PROVIDER_CONFIG || '{}',
  );
  return { port, clients, accounts, ...rest };
}

// signingKeys makes one ES256 and one RS256 key. A process that starts again has other keys, and
// that is how a test rotates them. The colons are deliberate: a kid is any string.
export function signingKeys() {
  const age = Date.now().toString(36);
  const key = (alg, type, options) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
    alg,
    use: 'sig',
    kid: `${alg}:${age}`,
  });
  return {
    keys: [
      key('ES256', 'ec', { namedCurve: 'P-256' }),
      key('RS256', 'rsa', { modulusLength: 2048 }),
    ],
  };
}

// serve listens first, so that the issuer can name the port, then calls build(origin) for the
// request handler and prints the issuer: the one line on standard output that says "ready".
export function serve({ port, origin: seen }, build) {
  const server = createServer((req, res) => handler(req, res));
  let handler;
  server.listen(port, '127.0.0.1', async () => {
    const origin = seen ?? `http://127.0.0.1:${server.address().port}`;
    const built = await build(origin);
    handler = built.handler;
    console.log(built.issuer);
  });

  const stop = () => process.exit(0);
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Standard input is a pipe held by the test: when the test dies it closes.
  process.stdin.on('end', stop).on('error', stop).resume();
}

// recorder keeps what reached the engine's endpoints, for tests to count and look at.
export function recorder() {
  const requests = [];
  return {
    middleware: async (ctx, next) => {
      try {
        await next();
      } finally {
        requests.push({
          method: ctx.method,
          path: ctx.path,
          route: ctx.oidc?.route ?? '',
          status: ctx.status,
          query: { ...ctx.query },
          form: { ...ctx.oidc?.body },
          authorization: ctx.get('authorization').split(' ')[0],
          accept: ctx.get('accept'),
        });
      }
    },
    handle(req, res) {
      if (req.url !== '/control/requests') return false;
      res.setHeader('content-type', 'application/json');
      res.end(JSON.stringify(requests));
      return true;
    },
  };
}

export const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

export function page(res, status, title, body) {
  res.statusCode = status;
  res.setHeader('content-type', 'text/html; charset=utf-8');
  res.setHeader('cache-control', 'no-store');
  res.end(html(title, body));
}

export const html = (title, body) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escape(title)}</title>
<h1>${escape(title)}</h1>
${body}
`;

// loginPage lists the accounts. acr and amr (space-separated) override the account's own; more is
// HTML for more fields.
export function loginPage(res, { action, accounts, hint, client, more = '' }) {
  const rows = accounts.map(({ sub, claims }, i) => {
    const chosen = hint ? claims?.email === hint : i === 0;
    return `<p><label><input type="radio" name="sub" value="${escape(sub)}"${chosen ? ' checked' : ''}>
${escape(claims?.email ?? sub)}</label></p>`;
  });
  page(res, 200, `Sign in to ${client}`, `<form id="login" method="post" action="${escape(action)}">
${rows.join('\n')}
<p><label>acr <input name="acr"></label> <label>amr <input name="amr"></label></p>
${more}
<p><button name="do" value="login">Sign in</button> <button name="do" value="cancel">Cancel</button></p>
</form>`);
}

// chosen turns the posted login form into { account, acr, amr }, or undefined for an unknown sub.
export function chosen(form, accounts) {
  const account = accounts.find(({ sub }) => sub === form.sub);
  return account && {
    account,
    acr: form.acr || account.acr,
    amr: form.amr ? form.amr.split(' ') : account.amr,
  };
}

// readForm reads a form body once; req.body keeps it for the engine, which cannot read it again.
export async function readForm(req) {
  if (req.body) return req.body;
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > 65536) throw new Error('form too large');
    chunks.push(chunk);
  }
  req.body = fields(new URLSearchParams(Buffer.concat(chunks).toString()));
  return req.body;
}

// fields keeps a parameter that came twice as an array, as query parsers do.
export function fields(params) {
  const out = {};
  for (const name of new Set(params.keys())) {
    const values = params.getAll(name);
    out[name] = values.length > 1 ? values : values[0];
  }
  return out;
}

export function cookies(req) {
  return Object.fromEntries((req.headers.cookie ?? '').split('; ').filter(Boolean)
    .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}
