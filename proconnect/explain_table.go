package proconnect

// This file holds the explanations.

// What to do, where it is the same for several errors.
var (
	tryAgain = text{
		"Try again in a few minutes. If it keeps happening, contact the support of this service.",
		"Réessayez dans quelques minutes. Si le problème persiste, contactez le support de ce service.",
	}
	askIT = text{
		"Try again later. If it keeps happening, contact your organisation's IT department.",
		"Réessayez plus tard. Si le problème persiste, contactez le " +
			"service informatique de votre organisation.",
	}
	askService = text{
		"Contact the support of this service.",
		"Contactez le support de ce service.",
	}
	askProConnect = text{
		"Contact ProConnect's support, and give it the code.",
		"Contactez le support de ProConnect en lui indiquant le code.",
	}
	signInAgain = text{"Sign in again.", "Reconnectez-vous."}
	compare     = text{
		"Compare the client's configuration with its registration at " +
			"the partner portal, of the same environment.",
		"Comparez la configuration du client avec son enregistrement dans " +
			"l’espace partenaires, pour le même environnement.",
	}
)

var general = entry{
	meaning: text{"The sign-in with ProConnect did not succeed.", "La connexion avec ProConnect n’a pas abouti."},
	action:  tryAgain,
}

var sessionOver = entry{
	meaning: text{
		"Your ProConnect session has ended, or ProConnect cannot answer for it at the moment.",
		"Votre session ProConnect est terminée, ou ProConnect ne peut pas la confirmer pour le moment.",
	},
	action: text{
		"Sign in again. If that fails too, try again in a few minutes.",
		"Reconnectez-vous. En cas de nouvel échec, réessayez dans quelques minutes.",
	},
}

var (
	levelMissed = entry{
		meaning: text{
			"Your sign-in did not reach the level that this service asks for, such as two factors.",
			"Votre connexion n’a pas atteint le niveau que ce service " +
				"demande, par exemple une double authentification.",
		},
		action: text{
			"Sign in with a second factor. If you are not offered any, " +
				"contact your organisation's IT department.",
			"Connectez-vous avec un second facteur. Si cela ne vous est pas proposé, " +
				"contactez le service informatique de votre organisation.",
		},
	}
	notPublic = entry{
		meaning: text{
			"ProConnect refused your account: this service is for public agents and ProConnect does not know you as one, " +
				"or the account is blocked.",
			"ProConnect a refusé votre compte\u00a0: ce service est réservé aux agents publics et ProConnect ne vous " +
				"reconnaît pas comme tel, ou le compte est bloqué.",
		},
		action: text{
			"Sign in with your professional address, for the right organisation. If " +
				"that is what you did, contact the support of this service.",
			"Connectez-vous avec votre adresse professionnelle, au titre de la bonne " +
				"organisation. Si c’est déjà le cas, contactez le support de ce service.",
		},
	}
	domainRefused = entry{
		meaning: text{
			"The domain of your e-mail address is not among those that may sign in to this service.",
			"Le domaine de votre adresse électronique n’est pas autorisé à se connecter à ce service.",
		},
		action: text{
			"Sign in with another professional address, or contact the support of this service.",
			"Connectez-vous avec une autre adresse professionnelle, ou contactez le support de ce service.",
		},
	}
	idpFailed = entry{
		meaning: text{
			"Your organisation's sign-in, or ProConnect, had a technical failure.",
			"Le système de connexion de votre organisation, ou ProConnect, a rencontré une erreur technique.",
		},
		action: askIT,
	}
	badRequest = entry{
		meaning: text{
			"ProConnect does not accept the service's request: a " +
				"parameter is missing, malformed, empty or given twice.",
			"ProConnect n’accepte pas la requête du service\u00a0: un " +
				"paramètre manque, est mal formé, vide ou présent deux fois.",
		},
		action: text{
			"Look at the parameters of the request's URL; an unused hint must be left out.",
			"Examinez les paramètres de l’URL de la requête\u00a0; un " +
				"paramètre inutilisé ne doit pas être envoyé.",
		},
		operator: true,
	}
	badClient = entry{
		meaning: text{
			"ProConnect does not know the client, or refuses its secret.",
			"ProConnect ne connaît pas le client, ou refuse son secret.",
		},
		action: compare, operator: true,
	}
	badScope = entry{
		meaning: text{
			"The service asks for a scope that its registration does not have.",
			"Le service demande un scope que son enregistrement n’autorise pas.",
		},
		action: text{
			"Take it out of Scopes, or have ProConnect add it.",
			"Retirez-le de Scopes, ou demandez à ProConnect de l’ajouter.",
		},
		operator: true,
	}
	unsupported = entry{
		meaning: text{
			"The service asks in a way that ProConnect does not support.",
			"Le service formule sa requête d’une façon que ProConnect ne prend pas en charge.",
		},
		action: text{
			"Use the code flow, without request objects and special response modes.",
			"Utilisez le flux «\u00a0code\u00a0», sans objet request ni response_mode particulier.",
		},
		operator: true,
	}
)

// callbackErrors is searched from the top for the code and, in lower case, a part of
// the error_description.
var callbackErrors = []struct {
	code, description string
	entry
}{
	{"login_required", "", entry{
		meaning: text{"You are not signed in with ProConnect at the moment.", "Vous n’êtes pas connecté à ProConnect en ce moment."},
		action:  signInAgain,
	}},
	{"access_denied", "requested acrs", levelMissed},
	{"access_denied", "invalid identity", notPublic},
	{"access_denied", "configuration limitation", domainRefused},
	{"access_denied", "user authentication aborted", entry{
		meaning: text{"The sign-in was interrupted at ProConnect.", "La connexion a été interrompue chez ProConnect."},
		action: text{
			"Start again, in one browser window, with cookies allowed.",
			"Recommencez, dans une seule fenêtre du navigateur, avec les cookies autorisés.",
		},
	}},
	{"access_denied", "", entry{
		meaning: text{"The sign-in was cancelled or refused.", "La connexion a été annulée ou refusée."},
		action:  tryAgain,
	}},
	{"server_error", "technical error", idpFailed},
	// Some failures of an identity provider come back as invalid_request.
	{"invalid_request", "technical error", idpFailed},
	{"server_error", "", entry{
		meaning: text{"ProConnect had an unexpected failure.", "ProConnect a rencontré une erreur inattendue."},
		action:  tryAgain,
	}},
	{"temporarily_unavailable", "", entry{
		meaning: text{"ProConnect is not available at the moment.", "ProConnect est momentanément indisponible."},
		action:  tryAgain,
	}},
	{"idp_hint_not_found", "", entry{
		meaning: text{
			"ProConnect knows no identity provider by the idp_hint of the service, in this environment.",
			"ProConnect ne connaît, dans cet environnement, aucun " +
				"fournisseur d’identité correspondant au idp_hint du service.",
		},
		action: text{
			"Correct the identifier: it is the idp_id of the environment's own list.",
			"Corrigez l’identifiant\u00a0: c’est le idp_id de la liste propre à l’environnement.",
		},
		operator: true,
	}},
	{"invalid_scope", "", badScope},
	{"invalid_client", "", badClient},
	{"unauthorized_client", "", badClient},
	{"invalid_request", "", badRequest},
	{"unsupported_response_type", "", unsupported},
	{"unsupported_response_mode", "", unsupported},
	{"request_not_supported", "", unsupported},
	{"invalid_request_uri", "", unsupported},
	{"registration_not_supported", "", unsupported},
}

const (
	renderedError   = "oidc-provider-rendered-error:"
	sessionNotFound = "oidc-provider-error:session-not-found"
)

// pageCodes are the codes that ProConnect's own error pages show.
var pageCodes = map[string]entry{
	"Y000400": badRequest,
	"Y000404": {
		meaning: text{"This address does not exist at ProConnect.", "Cette adresse n’existe pas chez ProConnect."},
		action: text{
			"Check that the issuer ends in /api/v2, and that logout uses GET.",
			"Vérifiez que l’issuer se termine par /api/v2 et que la déconnexion utilise GET.",
		},
		operator: true,
	},
	"Y000500": {
		meaning: text{"ProConnect had an unexpected failure.", "ProConnect a rencontré une erreur inattendue."},
		action:  tryAgain,
	},
	"Y500001": {
		meaning: text{
			"No identity provider answers for your e-mail address on this network.",
			"Aucun fournisseur d’identité ne correspond à votre adresse électronique sur ce réseau.",
		},
		action: text{
			"Check the address. If it is right, ask your organisation's IT " +
				"department whether it is connected to ProConnect.",
			"Vérifiez l’adresse. Si elle est correcte, demandez au service informatique " +
				"de votre organisation si celle-ci est raccordée à ProConnect.",
		},
	},
	"Y500006": {
		meaning: text{
			"What your organisation's sign-in says about you is incomplete or malformed.",
			"Les informations que le système de connexion de votre " +
				"organisation donne sur vous sont incomplètes ou mal formées.",
		},
		action: text{
			"Contact your organisation's IT department, and give it the code.",
			"Contactez le service informatique de votre organisation en lui indiquant le code.",
		},
	},
	"Y500015": {
		meaning: text{
			"This service is registered for public agents only, and ProConnect does not know you as one.",
			"Ce service est enregistré pour les seuls agents publics, et " +
				"ProConnect ne vous reconnaît pas comme tel.",
		},
		action: text{
			"Sign in with your professional address, for the right organisation. If your service should take people " +
				"of the private sector, have ProConnect change its registration.",
			"Connectez-vous avec votre adresse professionnelle, au titre de la bonne organisation. Si votre service doit " +
				"accueillir des personnes du secteur privé, faites modifier son enregistrement par ProConnect.",
		},
	},
	"Y500024": {
		meaning: text{"This account is blocked at ProConnect.", "Ce compte est bloqué chez ProConnect."},
		action:  askProConnect,
	},
	"Y500025": domainRefused,
	"Y500027": {
		meaning: text{
			"Your organisation's sign-in may not answer for the domain of your e-mail address.",
			"Le fournisseur d’identité de votre organisation n’est pas " +
				"autorisé pour le domaine de votre adresse électronique.",
		},
		action: askIT,
	},
	renderedError + "invalid_client": badClient,
	renderedError + "invalid_redirect_uri": {
		meaning: text{
			"The redirect URI of the service is not registered at ProConnect.",
			"L’URI de redirection du service n’est pas enregistrée chez ProConnect.",
		},
		action: text{
			"Register it byte for byte, with its port and without or with " +
				"the slash at its end, in the right environment.",
			"Enregistrez-la au caractère près, port et barre oblique " +
				"finale compris, dans le bon environnement.",
		},
		operator: true,
	},
	renderedError + "invalid_request": {
		meaning: text{
			"ProConnect does not accept a request of the service. At a logout, the post-logout redirect URI is not " +
				"registered, or the id_token_hint is not of this client.",
			"ProConnect n’accepte pas une requête du service. Lors d’une déconnexion, l’URI de retour n’est pas " +
				"enregistrée, ou le id_token_hint n’est pas celui de ce client.",
		},
		action: compare, operator: true,
	},
	renderedError + "invalid_client_metadata": {
		meaning: text{
			"The client's registration at ProConnect is not usable.",
			"L’enregistrement du client chez ProConnect n’est pas utilisable.",
		},
		action: askProConnect, operator: true,
	},
	sessionNotFound: {
		meaning: text{
			"This sign-in is over already, too old, or was overtaken by another in the same browser.",
			"Cette connexion est déjà terminée, trop ancienne, ou a été " +
				"remplacée par une autre dans le même navigateur.",
		},
		action: text{
			"Allow cookies, keep one tab, go back to the service and " +
				"sign in from there, without the back button.",
			"Autorisez les cookies, gardez un seul onglet, retournez sur le service et reconnectez-vous depuis celui-ci, " +
				"sans le bouton Précédent.",
		},
	},
	"Y030031": retiredCode, "Y030110": retiredCode, "Y030111": retiredCode, "Y04A586": retiredCode,
}

// retiredCode is for codes that older documentation still lists.
var retiredCode = entry{
	meaning: text{
		"ProConnect no longer shows this code. Its successors begin with " + renderedError + " and are about " +
			"the service's registration.",
		"ProConnect n’affiche plus ce code. Ceux qui le remplacent commencent par " + renderedError + " et concernent " +
			"l’enregistrement du service.",
	},
	action: compare, operator: true,
}

// pageFamilies are codes with a common prefix that have the same explanation.
var pageFamilies = []struct {
	prefix string
	entry
}{
	{"Y02", idpFailed},
	{"Y19", sessionLost},
	{"Y50", entry{meaning: general.meaning, action: askService}},
	{renderedError, entry{
		meaning: text{
			"ProConnect does not accept the service's request.",
			"ProConnect n’accepte pas la requête du service.",
		},
		action: compare, operator: true,
	}},
}

var sessionLost = entry{
	meaning: text{
		"ProConnect lost this sign-in's session, which happens without cookies or after a long time.",
		"ProConnect a perdu la session de cette connexion, ce qui " +
			"arrive sans cookies ou après une longue attente.",
	},
	action: text{
		"Allow cookies, go back to the service and sign in from there.",
		"Autorisez les cookies, retournez sur le service et reconnectez-vous depuis celui-ci.",
	},
}
