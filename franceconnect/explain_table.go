package franceconnect

// This file holds the explanations.

// What to do, where it is the same for several errors.
var (
	tryAgain = text{
		"Try again in a few minutes. If it keeps happening, contact the support of this service.",
		"Réessayez dans quelques minutes. Si le problème persiste, contactez le support de ce service.",
	}
	askFranceConnect = text{
		"Contact FranceConnect's support, and give it the code.",
		"Contactez le support de FranceConnect en lui indiquant le code.",
	}
	compare = text{
		"Compare the client's configuration with its registration at FranceConnect, of the same environment.",
		"Comparez la configuration du client avec son enregistrement chez FranceConnect, pour le même environnement.",
	}
)

// codeLabel goes before FranceConnect's code on the page for the person.
var codeLabel = text{"FranceConnect's code: ", "Code de FranceConnect\u00a0: "}

var general = entry{
	meaning: text{"The sign-in with FranceConnect did not succeed.", "La connexion avec FranceConnect n’a pas abouti."},
	action:  tryAgain,
}

var (
	badParameters = entry{
		meaning: text{
			"FranceConnect does not accept the parameters of the service's request: one is missing, too short, or not in its list.",
			"FranceConnect n’accepte pas les paramètres de la requête du service\u00a0: l’un manque, est trop court, ou ne " +
				"figure pas dans sa liste.",
		},
		action: text{
			"Look at the request's URL. PKCE, response_mode, max_age, hints and prompt=none are refused; acr_values and a " +
				"nonce of 22 characters or more are required.",
			"Examinez l’URL de la requête. PKCE, response_mode, max_age, les hints et prompt=none sont refusés\u00a0; " +
				"acr_values et un nonce d’au moins 22 caractères sont exigés.",
		},
		operator: true,
	}
	badClient = entry{
		meaning: text{
			"FranceConnect does not know the client, has deactivated it, or refuses its secret.",
			"FranceConnect ne connaît pas le client, l’a désactivé, ou refuse son secret.",
		},
		action: compare, operator: true,
	}
	badRequest = entry{
		meaning: text{
			"FranceConnect does not accept the service's request.",
			"FranceConnect n’accepte pas la requête du service.",
		},
		action: compare, operator: true,
	}
	badAlgorithm = entry{
		meaning: text{
			"FranceConnect's answer is not signed, or not encrypted, in the way that the service's configuration says.",
			"La réponse de FranceConnect n’est pas signée, ou pas chiffrée, comme l’indique la configuration du service.",
		},
		action: text{
			"Set the SignedResponseAlg and EncryptedResponse fields of Registration to what the client is registered for: " +
				"HS256 if nothing was chosen at FranceConnect, ES256 at FranceConnect+.",
			"Donnez aux champs SignedResponseAlg et EncryptedResponse de Registration les valeurs de l’enregistrement du " +
				"client\u00a0: HS256 si rien n’a été choisi chez FranceConnect, ES256 chez FranceConnect+.",
		},
		operator: true,
	}
	levelRefused = entry{
		meaning: text{
			"The service asks for a level that this platform does not have: FranceConnect has eidas1, FranceConnect+ eidas2 and eidas3.",
			"Le service demande un niveau que cette plateforme n’a pas\u00a0: FranceConnect a eidas1, FranceConnect+ eidas2 et eidas3.",
		},
		action: text{
			"Correct Login.ACRValues, or use the other platform.",
			"Corrigez Login.ACRValues, ou utilisez l’autre plateforme.",
		},
		operator: true,
	}
	tooLate = entry{
		meaning: text{
			"Too much time passed between FranceConnect and this service, or the sign-in was used already.",
			"Trop de temps s’est écoulé entre FranceConnect et ce service, ou la connexion a déjà été utilisée.",
		},
		action: text{"Sign in again.", "Reconnectez-vous."},
	}
	notRegistered = entry{
		meaning: text{
			"FranceConnect did not find your civil status in the register.",
			"FranceConnect n’a pas trouvé votre état civil dans le registre.",
		},
		action: text{
			"Compare the names, the date and the place of birth of your account at the identity provider with your identity papers, " +
				"or sign in with another account. If that does not help, contact FranceConnect's support, and give it the code.",
			"Comparez les noms, la date et le lieu de naissance de votre compte chez le fournisseur d’identité avec vos papiers " +
				"d’identité, ou utilisez un autre compte. Sinon, contactez le support de FranceConnect en lui indiquant le code.",
		},
	}
	registerSlow = entry{
		meaning: text{
			"The civil register does not answer FranceConnect at the moment.",
			"Le registre de l’état civil ne répond pas à FranceConnect pour le moment.",
		},
		action: tryAgain,
	}
)

// protocolErrors are errors that reach the service, by their error value.
var protocolErrors = []struct {
	code string
	entry
}{
	{"access_denied", entry{
		meaning: text{
			"The sign-in was cancelled, or FranceConnect refused it.",
			"La connexion a été annulée, ou FranceConnect l’a refusée.",
		},
		action: text{
			"Sign in again, with another account if you have one. If it keeps happening, contact FranceConnect's support.",
			"Reconnectez-vous, avec un autre compte si vous en avez un. Si le problème persiste, contactez le support de FranceConnect.",
		},
	}},
	{"temporarily_unavailable", entry{
		meaning: text{"FranceConnect is not available at the moment.", "FranceConnect est momentanément indisponible."},
		action:  tryAgain,
	}},
	{"server_error", entry{
		meaning: text{"FranceConnect had an unexpected failure.", "FranceConnect a rencontré une erreur inattendue."},
		action:  tryAgain,
	}},
	{"invalid_grant", tooLate},
	{"invalid_token", tooLate},
	{"invalid_acr", levelRefused},
	{"invalid_idp_hint", entry{
		meaning: text{
			"FranceConnect does not accept the idp_hint of the service.",
			"FranceConnect n’accepte pas l’idp_hint du service.",
		},
		action: text{
			"Use the id of an identity provider that FranceConnect allows as a hint, or none.",
			"Utilisez l’identifiant d’un fournisseur d’identité que FranceConnect autorise comme hint, ou aucun.",
		},
		operator: true,
	}},
	{"invalid_client", badClient},
	{"unauthorized_client", badClient},
	{"invalid_request", badRequest},
	{"invalid_scope", badRequest},
	{"unsupported_response_type", badRequest},
}

// pageCodes are the codes that FranceConnect's own error pages show.
var pageCodes = map[string]entry{
	"Y030007":  badParameters,
	"Y04EA6EF": badClient,
	"Y04C013C": {
		meaning: text{
			"The redirect URI of the service is not registered at FranceConnect.",
			"L’URI de redirection du service n’est pas enregistrée chez FranceConnect.",
		},
		action: text{
			"Register it byte for byte, with its port and without or with the slash at its end, in the right environment.",
			"Enregistrez-la au caractère près, port et barre oblique finale compris, dans le bon environnement.",
		},
		operator: true,
	},
	"Y04A8220": {
		meaning: text{
			"FranceConnect cannot use the client's sector_identifier_uri.",
			"FranceConnect ne peut pas utiliser le sector_identifier_uri du client.",
		},
		action: text{
			"If the redirect URIs have several hosts, the URI must be reachable from the internet and list all of them.",
			"Si les URI de redirection ont plusieurs hôtes, cette URI doit être joignable depuis Internet et les énumérer toutes.",
		},
		operator: true,
	},
	"Y100001": {
		meaning: text{
			"The account that you used does not reach the level that this service asks for.",
			"Le compte que vous avez utilisé n’atteint pas le niveau que ce service demande.",
		},
		action: text{
			"Sign in with another account.",
			"Connectez-vous avec un autre compte.",
		},
	},
	"Y100009": {
		meaning: text{
			"The service asks for the amr claim, and its registration does not allow it.",
			"Le service demande la donnée amr, et son enregistrement ne l’autorise pas.",
		},
		action: text{
			"Take it out of Login.Claims, or have FranceConnect allow it.",
			"Retirez-la de Login.Claims, ou demandez à FranceConnect de l’autoriser.",
		},
		operator: true,
	},
	"Y010004": notRegistered, "Y010006": notRegistered, "Y010008": notRegistered,
	"Y010011": registerSlow, "Y010012": registerSlow,
	"Y010015": {
		meaning: text{
			"The civil register says that the person of this account is deceased.",
			"Le registre de l’état civil indique que la personne de ce compte est décédée.",
		},
		action: text{
			"If this is a mistake, contact FranceConnect's support, and give it the code.",
			"S’il s’agit d’une erreur, contactez le support de FranceConnect en lui indiquant le code.",
		},
	},
}

// pageFamilies are codes with a common prefix that have the same explanation.
var pageFamilies = []struct {
	prefix string
	entry
}{
	{"Y01", entry{
		meaning: text{
			"FranceConnect could not check your civil status in the register.",
			"FranceConnect n’a pas pu vérifier votre état civil dans le registre.",
		},
		action: askFranceConnect,
	}},
	{"Y04", badRequest},
}
