// A strict, current OpenID Provider: npm oidc-provider 9 with its defaults where they make sense.
// PROVIDER_CONFIG members beside the shared ones:
//   rotateRefreshToken                  every refresh answers with another refresh token
//   accessTokenTTL                      how long an access token lasts, in seconds; an hour if unset
//   requirePushedAuthorizationRequests  the metadata says so and the engine insists

import { Provider } from 'oidc-provider';
import {
  chosen, html, loginPage, page, readForm, recorder, serve, settings, signingKeys,
} from '../shared/standin.mjs';

const config = settings();
const signing = ['ES256', 'RS256', 'HS256'];

const claims = {
  openid: ['sub'],
  email: ['email', 'email_verified'],
  profile: ['name', 'given_name', 'family_name'],
  acr: null,
  amr: null,
  auth_time: null,
  iss: null,
  sid: null,
};

async function findAccount(ctx, sub) {
  const account = config.accounts.find((a) => a.sub === sub);
  return account && { accountId: sub, claims: () => ({ sub, ...account.claims }) };
}

// Consent is given: a grant covers whatever the client asked for.
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

const configuration = {
  clients: config.clients,
  jwks: signingKeys(),
  findAccount,
  loadExistingGrant,
  claims,
  scopes: ['openid', 'offline_access'],
  acrValues: ['eidas1', 'eidas2', 'eidas3'],
  cookies: { keys: ['stand-in'] },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
  ttl: { AccessToken: config.accessTokenTTL ?? 3600 },
  rotateRefreshToken: config.rotateRefreshToken ?? false,
  enabledJWA: {
    idTokenSigningAlgValues: signing,
    userinfoSigningAlgValues: signing,
  },
  features: {
    devInteractions: { enabled: false },
    claimsParameter: { enabled: true },
    jwtUserinfo: { enabled: true },
    revocation: { enabled: true },
    backchannelLogout: { enabled: true },
    pushedAuthorizationRequests: {
      enabled: true,
      requirePushedAuthorizationRequests: config.requirePushedAuthorizationRequests ?? false,
    },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = html('Sign out?', `${form}
<p><button form="op.logoutForm" name="logout" value="yes">Sign out</button></p>`);
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = html('Signed out', '');
      },
    },
  },
  renderError: (ctx, { error, error_description: description }) => {
    ctx.type = 'html';
    ctx.body = html(error, `<p>${description ?? ''}</p>`);
  },
  // The engine refuses to speak to loopback addresses; back-channel logout must.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
};

async function interaction(provider, req, res) {
  const { uid, params, prompt } = await provider.interactionDetails(req, res);
  if (req.method === 'GET') {
    loginPage(res, {
      action: `/interaction/${uid}`,
      accounts: config.accounts,
      hint: params.login_hint,
      client: params.client_id,
    });
    return;
  }
  const form = await readForm(req);
  const login = chosen(form, config.accounts);
  if (!login || form.do === 'cancel') {
    await provider.interactionFinished(req, res, {
      error: 'access_denied',
      error_description: 'the person cancelled',
    });
    return;
  }
  const asked = prompt.details.acr;
  const wanted = asked?.values ?? (asked?.value ? [asked.value] : undefined);
  if (wanted && !wanted.includes(login.acr)) {
    // OIDC Core 5.5.1.1: an essential acr that cannot be met is a failed authentication.
    await provider.interactionFinished(req, res, {
      error: 'access_denied',
      error_description: 'requested ACR could not be obtained',
    });
    return;
  }
  await provider.interactionFinished(req, res, {
    login: { accountId: login.account.sub, acr: login.acr, amr: login.amr },
  }, { mergeWithLastSubmission: false });
}

serve(config, (origin) => {
  const provider = new Provider(origin, configuration);
  provider.proxy = origin.startsWith('https:'); // reads X-Forwarded-Proto
  const record = recorder();
  provider.use(record.middleware);
  provider.on('server_error', (ctx, err) => console.error(err));
  const engine = provider.callback();
  const handler = (req, res) => {
    if (record.handle(req, res)) return;
    if (!req.url.startsWith('/interaction/')) {
      engine(req, res);
      return;
    }
    interaction(provider, req, res).catch((err) => {
      console.error(err);
      page(res, 400, 'The login cannot go on', `<p>${err.error ?? 'error'}</p>`);
    });
  };
  return { issuer: origin, handler };
});
