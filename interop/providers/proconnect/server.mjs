// A stand-in for ProConnect: the engine it runs on, npm oidc-provider 7.14.3, with the options it
// uses, and around it what its own pages do to the requests of a relying party: a stricter first
// check of parameters, its own session beside the engine's, single sign-on, acr rules, a code by
// e-mail, hints, logout, and its ways to fail: see failures and control.
//
// An account may have the member idpMFA: its identity provider does two factors itself, so
// ProConnect sends no code.

import { randomBytes } from 'node:crypto';
import engineModule from 'oidc-provider';
import {
  chosen, cookies, escape, fields, html, loginPage, page, readForm, recorder, serve, settings,
  signingKeys,
} from '../shared/standin.mjs';

const { Provider } = engineModule;
const config = settings();
const prefix = '/api/v2';
const halfDay = 43200;
const signing = ['ES256', 'RS256', 'HS256'];
const acrValues = [
  'eidas0', 'eidas0-mfa', 'eidas1', 'eidas1-mfa', 'eidas2', 'eidas3',
  'https://proconnect.gouv.fr/assurance/certification-dirigeant',
];
// These levels never reuse a session.
const alwaysFresh = ['eidas2', 'eidas3'];

const ownScopes = [
  'uid', 'given_name', 'email', 'organizational_unit', 'siren', 'siret', 'usual_name',
  'belonging_population', 'idp_id', 'idp_acr', 'roles', 'organization_label', 'groups', 'custom',
];
const claims = {
  openid: ['sub'],
  amr: ['amr'],
  phone: ['phone_number'],
  chorusdt: ['chorusdt:matricule', 'chorusdt:societe'],
  ...Object.fromEntries(ownScopes.map((name) => [name, [name]])),
};

// sessions is ProConnect's own: cookie value -> { account, acr, amr, idpACR }. latest remembers
// which of them a sub used last, and that is where the claims are read from: see findAccount.
const sessions = new Map();
const latest = new Map();

// codes is who waits for a code by e-mail: interaction -> what the session is going to be.
const codes = new Map();
const mailedCode = '123456';

function endSession(id) {
  const session = sessions.get(id);
  if (!session) return;
  sessions.delete(id);
  if (latest.get(session.account.sub) === id) latest.delete(session.account.sub);
}

// findAccount throws without a session, and so /token and /userinfo answer 500 server_error after
// a logout elsewhere, not 401.
async function findAccount(ctx, sub) {
  const { account, idpACR } = sessions.get(latest.get(sub)) ?? {};
  if (!account) throw new Error('no session for this sub');
  return {
    accountId: sub,
    claims: () => ({ idp_acr: idpACR, ...account.claims, sub }),
  };
}

async function loadExistingGrant(ctx) {
  const { client, session, requestParamScopes, requestParamClaims } = ctx.oidc;
  const grant = new ctx.oidc.provider.Grant({
    clientId: client.clientId,
    accountId: session.accountId,
  });
  grant.addOIDCScope([...requestParamScopes].join(' '));
  grant.addOIDCClaims([...requestParamClaims]);
  await grant.save();
  return grant;
}

const encryption = ['ECDH-ES', 'RSA-OAEP'];
const clientAuthSigning = ['ES256', 'RS256'];
const enabledJWA = {
  ...Object.fromEntries(['idToken', 'userinfo', 'introspection', 'requestObject']
    .map((name) => [`${name}SigningAlgValues`, signing])),
  ...Object.fromEntries(['tokenEndpointAuth', 'introspectionEndpointAuth', 'revocationEndpointAuth']
    .map((name) => [`${name}SigningAlgValues`, clientAuthSigning])),
  ...Object.fromEntries(['idToken', 'userinfo', 'introspection']
    .map((name) => [`${name}EncryptionAlgValues`, encryption])),
  ...Object.fromEntries(['idToken', 'userinfo', 'introspection', 'requestObject']
    .map((name) => [`${name}EncryptionEncValues`, ['A256GCM']])),
  requestObjectEncryptionAlgValues: [],
};

const configuration = {
  clients: config.clients,
  clientDefaults: {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    id_token_signed_response_alg: 'ES256',
    token_endpoint_auth_method: 'client_secret_post',
    application_type: 'web',
  },
  jwks: signingKeys(),
  findAccount,
  loadExistingGrant,
  claims,
  scopes: ['openid'],
  acrValues,
  responseTypes: ['code'],
  subjectTypes: ['public'],
  tokenEndpointAuthMethods: ['client_secret_post', 'private_key_jwt'],
  enabledJWA,
  extraParams: ['idp_hint', 'siret_hint'],
  clientBasedCORS: () => false,
  pkce: { methods: ['S256'], required: () => false },
  issueRefreshToken: () => true,
  ttl: {
    Session: halfDay, Grant: halfDay, RefreshToken: halfDay,
    AuthorizationCode: 600, AccessToken: 3600, IdToken: 3600, Interaction: 3600,
  },
  cookies: {
    keys: ['stand-in'],
    long: { sameSite: 'lax', signed: true, path: '/' },
    short: { sameSite: 'lax', signed: true, path: '/' },
  },
  interactions: { url: (ctx, interaction) => `${prefix}/interaction/${interaction.uid}` },
  routes: {
    authorization: '/authorize',
    token: '/token',
    userinfo: '/userinfo',
    jwks: '/jwks',
    end_session: '/session/end',
    introspection: '/token/introspection',
    revocation: '/token/revocation',
  },
  features: {
    devInteractions: { enabled: false },
    encryption: { enabled: true },
    introspection: { enabled: true },
    jwtIntrospection: { enabled: true, ack: 'draft-10' },
    jwtUserinfo: { enabled: true },
    revocation: { enabled: true },
    claimsParameter: { enabled: true },
    resourceIndicators: { enabled: false },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = html('Déconnexion', form.replace('</form>', '<input type="hidden" name="logout" value="yes"></form>')
          + '<script>document.forms[0].submit()</script>');
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = html('Déconnexion', '<p>Vous êtes bien déconnecté, vous pouvez fermer votre navigateur</p>');
      },
    },
  },
  renderError: (ctx, { error, error_description: description }) => {
    ctx.type = 'html';
    ctx.body = html('Erreur', `<p>oidc-provider-rendered-error:${error}</p><p>${description ?? ''}</p>`);
  },
};

const url = (value) => /^https?:\/\/[^/].+$/.test(value);
const anything = () => true;

// rules are the first checks: [required, test]. Every value is one string; unknown names pass.
const authorizeRules = {
  client_id: [true, anything],
  response_type: [true, anything],
  redirect_uri: [true, url],
  scope: [true, anything],
  state: [true, anything],
  nonce: [false, (v) => /^[\x00-\x7f]{1,512}$/.test(v)],
  prompt: [false, anything],
  acr_values: [false, anything],
  claims: [false, anything],
  response_mode: [false, anything],
  idp_hint: [false, anything],
  code_challenge: [false, anything],
  code_challenge_method: [false, anything],
  login_hint: [false, (v) => /^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(v)],
  siret_hint: [false, (v) => v.length === 14],
};
const logoutRules = {
  id_token_hint: [false, anything],
  post_logout_redirect_uri: [false, url],
  state: [false, anything],
  client_id: [false, anything],
};
const revocationRules = {
  token: [true, (v) => /^[\w-]{43,}$/.test(v)],
  client_id: [true, anything],
  client_secret: [true, (v) => v.length >= 32],
};

function broken(params, rules) {
  return Object.entries(rules).find(([name, [required, test]]) => {
    const value = params[name];
    if (value === undefined) return required;
    return typeof value !== 'string' || !test(value);
  })?.[0];
}

function refuse(res, name) {
  page(res, 400, 'Erreur', `<p>Y000400</p><p>${name} is not valid</p>`);
}

// essentialACR lists the values that the request insists on; acr_values sent beside an essential
// claim become essential too.
function essentialACR(params) {
  const asked = JSON.parse(params.claims ?? '{}')?.id_token?.acr;
  if (!asked?.essential) return [];
  return [...(asked.values ?? [asked.value]), ...(params.acr_values?.split(' ') ?? [])]
    .filter((value) => acrValues.includes(value));
}

function reusable(session, params) {
  const essential = essentialACR(params);
  return session
    && (!params.idp_hint || params.idp_hint === session.account.claims?.idp_id)
    && (!params.login_hint || params.login_hint === session.account.claims?.email)
    && (!essential.length
      || (essential.includes(session.acr) && !alwaysFresh.includes(session.acr)));
}

const setCookie = (res, value) => res.appendHeader('set-cookie', value);

// authorize drops what the engine remembers of this browser and decides on its own session.
async function authorize(req, res, target, engine) {
  const params = req.method === 'POST' ? await readForm(req) : fields(target.searchParams);
  const wrong = broken(params, authorizeRules);
  if (wrong) {
    refuse(res, wrong);
    return;
  }
  const engineCookies = ['_session', '_interaction', '_interaction_resume'];
  req.headers.cookie = Object.entries(cookies(req))
    .filter(([name]) => !engineCookies.includes(name.replace(/\.sig$/, '')))
    .map((pair) => pair.join('='))
    .join('; ');
  engineCookies.forEach((name) => setCookie(res, `${name}=; Path=/; Max-Age=0`));

  const silent = params.prompt === 'none' && !sessions.has(cookies(req).pc_session_id);
  if (params.prompt === undefined || (params.prompt === 'none' && !silent)) {
    if (req.method === 'POST') params.prompt = 'login';
    else target.searchParams.set('prompt', 'login');
  }
  req.originalUrl = target.pathname + target.search;
  req.url = req.originalUrl.slice(prefix.length);
  engine(req, res);
}

// failures are codes of ProConnect's own error pages, and what the way back from there carries.
// Any other code stands for the general failure.
const technical = 'authentication aborted due to a technical error on the authorization server';
const failures = {
  Y020017: { error: 'server_error', error_description: technical },
  Y020032: { error: 'invalid_request', error_description: technical },
  Y190001: { error: 'access_denied', error_description: 'user authentication aborted' },
  Y500006: { error: 'server_error', error_description: technical },
  Y500015: {
    error: 'access_denied', error_description: 'authentication aborted due to invalid identity',
  },
  Y500025: {
    error: 'access_denied',
    error_description: 'authentication aborted due to a configuration limitation',
  },
};

function failurePage(res, uid, code) {
  const back = `${prefix}/interaction/${uid}/error?${new URLSearchParams(failures[code])}`;
  page(res, 400, 'Erreur', `<p>${escape(code)}</p>
<p><a href="${escape(back)}">Réessayer de vous connecter</a></p>`);
}

async function finish(provider, req, res, params, { account, acr, amr }) {
  const essential = essentialACR(params);
  if (essential.length && !essential.includes(acr)) {
    await provider.interactionFinished(req, res, {
      error: 'access_denied',
      error_description: 'requested ACRs could not be satisfied',
    });
    return;
  }
  await provider.interactionFinished(req, res, {
    login: {
      accountId: account.sub, acr, amr, remember: false, ts: Math.floor(Date.now() / 1000),
    },
    consent: {},
  });
}

// begin is the login page, unless the session or a hint settles the matter.
async function begin(provider, req, res, uid, params) {
  const id = cookies(req).pc_session_id;
  if (reusable(sessions.get(id), params)) {
    await finish(provider, req, res, params, sessions.get(id));
    return;
  }
  endSession(id);
  const idp = params.idp_hint;
  const accounts = config.accounts.filter(({ claims: own }) => !idp || own?.idp_id === idp);
  if (!accounts.length) {
    await provider.interactionFinished(req, res, {
      error: 'idp_hint_not_found', error_description: 'provided idp_hint could not be found',
    });
    return;
  }
  loginPage(res, {
    action: `${prefix}/interaction/${uid}`,
    accounts,
    hint: params.login_hint,
    client: params.client_id,
    more: '<p><label>fails with <input name="fails"></label></p>',
  });
}

// wantsCode reports whether a code by e-mail can make a login good enough.
function wantsCode({ account, acr, amr }, params) {
  return essentialACR(params).includes(`${acr}-mfa`) && !account.idpMFA && !amr?.includes('mail');
}

function codePage(res, uid, note) {
  page(res, 200, 'Code', `<p>${note}</p>
<form id="code" method="post" action="${prefix}/interaction/${uid}">
<p><label>Code <input name="code" value="${mailedCode}"></label></p>
<p><button>Continue</button></p>
</form>`);
}

// enter gives the browser a new session.
async function enter(provider, req, res, params, login) {
  endSession(cookies(req).pc_session_id);
  const fresh = randomBytes(32).toString('base64url');
  sessions.set(fresh, login);
  latest.set(login.account.sub, fresh);
  setCookie(res, `pc_session_id=${fresh}; Path=/; HttpOnly; SameSite=Lax`);
  await finish(provider, req, res, params, login);
}

// submitted is a form of the login page or of the code page.
async function submitted(provider, req, res, uid, params) {
  const form = await readForm(req);
  if (form.code !== undefined) {
    const waiting = codes.get(uid);
    if (!waiting || form.code !== mailedCode) {
      codePage(res, uid, 'This is not the code.');
      return;
    }
    codes.delete(uid);
    const amr = [...(waiting.amr ?? []), 'mail'];
    await enter(provider, req, res, params, { ...waiting, acr: `${waiting.acr}-mfa`, amr });
    return;
  }
  const login = chosen(form, config.accounts);
  if (!login) {
    refuse(res, 'sub');
  } else if (form.do === 'cancel') {
    await provider.interactionFinished(req, res, failures.Y020017);
  } else if (form.fails) {
    failurePage(res, uid, form.fails);
  } else {
    login.idpACR = login.acr;
    if (!acrValues.includes(login.acr)) login.acr = 'eidas1';
    if (wantsCode(login, params)) {
      codes.set(uid, login);
      codePage(res, uid, 'A code was sent by e-mail.');
      return;
    }
    await enter(provider, req, res, params, login);
  }
}

async function interaction(provider, req, res, target) {
  const { uid, params } = await provider.interactionDetails(req, res);
  if (target.pathname.endsWith('/error')) {
    const { error, error_description: description } = fields(target.searchParams);
    await provider.interactionFinished(req, res, {
      error: error ?? 'server_error',
      error_description: description ?? 'An unexpected error occurred',
    });
  } else if (req.method === 'GET') {
    await begin(provider, req, res, uid, params);
  } else {
    await submitted(provider, req, res, uid, params);
  }
}

// forgetAt is the path at which the next request finds all sessions gone.
let forgetAt = '';
let ahead = 0;
const now = Date.now;
Date.now = () => now() + ahead;

// control lets a test do what only time and other people do:
//   POST /control/forget           every session is gone
//   POST /control/forget/userinfo  every session is gone when the next request comes there
//   POST /control/clock/3600       the clock goes forward by so many seconds
function control(req, res) {
  const [, , what, more] = req.url.split('/');
  if (req.method !== 'POST' || !req.url.startsWith('/control/')) return false;
  if (what === 'clock') ahead += Number(more) * 1000;
  else if (what === 'forget' && more) forgetAt = `/${more}`;
  else if (what === 'forget') [...sessions.keys()].forEach(endSession);
  else res.statusCode = 404;
  res.end();
  return true;
}

// handle is the way of one request to the engine, which sees its paths without the prefix.
async function handle(provider, engine, req, res) {
  const target = new URL(req.url, provider.issuer);
  const path = target.pathname.startsWith(`${prefix}/`) ? target.pathname.slice(prefix.length) : '';
  if (!path) {
    page(res, 404, 'Erreur', '<p>Y000404</p>');
    return;
  }
  if (path === '/authorize') {
    await authorize(req, res, target, engine);
    return;
  }
  if (path.startsWith('/interaction/')) {
    await interaction(provider, req, res, target);
    return;
  }
  if (path === forgetAt) {
    [...sessions.keys()].forEach(endSession);
    forgetAt = '';
  }
  if (path === '/session/end') {
    const wrong = req.method === 'GET' ? broken(fields(target.searchParams), logoutRules) : '';
    if (req.method !== 'GET' || wrong) {
      if (wrong) refuse(res, wrong);
      else page(res, 404, 'Erreur', '<p>Y000404</p>');
      return;
    }
    endSession(cookies(req).pc_session_id);
  }
  if (path === '/token/revocation') {
    const wrong = broken(await readForm(req), revocationRules);
    if (wrong) {
      refuse(res, wrong);
      return;
    }
  }
  if (path === '/jwks' || path === '/.well-known/openid-configuration') {
    res.setHeader('cache-control', 'public, max-age=600');
  }
  req.originalUrl = req.url;
  req.url = req.url.slice(prefix.length);
  engine(req, res);
}

serve(config, (origin) => {
  const provider = new Provider(origin + prefix, configuration);
  provider.proxy = true;
  const record = recorder();
  provider.use(record.middleware);
  provider.on('server_error', (ctx, err) => console.error(err));
  const engine = provider.callback();
  const handler = (req, res) => {
    if (record.handle(req, res) || control(req, res)) return;
    handle(provider, engine, req, res).catch((err) => {
      if (err.name !== 'SessionNotFound') console.error(err);
      page(res, 400, 'Erreur', `<p>oidc-provider-error:${err.name === 'SessionNotFound' ? 'session-not-found' : 'error'}</p>`);
    });
  };
  return { issuer: provider.issuer, handler };
});
