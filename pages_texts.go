package oidcrp

// This file holds what the pages say, in English and French.

// textKey returns the beginning of the keys of the texts about code.
func textKey(code Code) string {
	if _, ok := builtinTexts["en"][string(code)+".title"]; ok {
		return string(code)
	}
	return "general"
}

// builtinTexts are the texts by language and key. A page has a title, a paragraph
// about the problem, one about what to do next, and a button.
var builtinTexts = map[string]map[string]string{
	"en": {
		"home":     "Home page",
		"incident": "Reference to give to support:",
		"contact":  "Support:",

		"general.title":  "Something went wrong",
		"general.what":   "Your sign-in could not be completed.",
		"general.next":   "Please try again. If it keeps happening, contact the support of this service.",
		"general.button": "Try again",

		"no_session.title":  "You need to sign in",
		"no_session.what":   "This page is for people who are signed in. What you sent was not saved.",
		"no_session.next":   "Sign in, then send it again.",
		"no_session.button": "Sign in",

		"login_required.title":  "Please sign in again",
		"login_required.what":   "Your sign-in has ended.",
		"login_required.next":   "Sign in again to continue.",
		"login_required.button": "Sign in",

		"transaction_lost.title":  "This sign-in can no longer be completed",
		"transaction_lost.what":   "It was already used, it is too old, or this browser does not keep cookies for this site.",
		"transaction_lost.next":   "Allow cookies for this site, then start again. Finish it in the same browser.",
		"transaction_lost.button": "Try again",

		"provider_unavailable.title":  "Signing in is not possible at the moment",
		"provider_unavailable.what":   "The sign-in service does not answer.",
		"provider_unavailable.next":   "Please try again in a moment.",
		"provider_unavailable.button": "Try again",

		"store_unavailable.title":  "This page is not available at the moment",
		"store_unavailable.what":   "Your session cannot be read right now. You have not been signed out.",
		"store_unavailable.next":   "Please try again in a moment.",
		"store_unavailable.button": "Try again",

		"cookie_keys_unavailable.title":  "This page is not available at the moment",
		"cookie_keys_unavailable.what":   "Your session cannot be read right now. You have not been signed out.",
		"cookie_keys_unavailable.next":   "Please try again in a moment.",
		"cookie_keys_unavailable.button": "Try again",

		"provider_error.title":  "The sign-in was not completed",
		"provider_error.what":   "It was cancelled, or the sign-in service refused it.",
		"provider_error.next":   "Please try again. If it keeps happening, contact the support of this service.",
		"provider_error.button": "Try again",

		"requirement_unmet.title":  "You may not open this page",
		"requirement_unmet.what":   "Your account, or the way you signed in, does not meet what this page requires.",
		"requirement_unmet.next":   "Sign in with another account or a stronger method, or contact the support of this service.",
		"requirement_unmet.button": "Sign in differently",
		"requirement_unmet.other":  "Sign in with another account",

		"session_too_large.title":  "Your account has too much data for this service",
		"session_too_large.what":   "The sign-in service sent more about you than this service can keep.",
		"session_too_large.next":   "Trying again does not help. Contact the support of this service, which can fix this.",
		"session_too_large.button": "Home page",

		"login_refused.title":  "You cannot sign in to this service",
		"login_refused.what":   "Your account was recognised, but it has no access to this service.",
		"login_refused.next":   "Sign in with another account, or contact the support of this service.",
		"login_refused.button": "Sign in with another account",

		"cross_origin.title":  "This request was refused",
		"cross_origin.what":   "A page of another site sent it to this service in your name. Nothing was changed.",
		"cross_origin.next":   "If you want to do this, do it on the pages of this service. If you did, contact its support.",
		"cross_origin.button": "Go to the home page",

		"choose.title":  "Sign in",
		"choose.what":   "Choose how to sign in to this service.",
		"choose.next":   "You then return to the page that you asked for.",
		"choose.button": "Sign in with {name}",

		"sign_out.title":  "Sign out?",
		"sign_out.what":   "Do you want to sign out of this service?",
		"sign_out.next":   "",
		"sign_out.button": "Sign out",
		"sign_out.stay":   "Stay signed in",

		"continue.title":  "You are being redirected",
		"continue.button": "Continue",

		"sign_out_incomplete.title":  "Signing out is not complete",
		"sign_out_incomplete.what":   "This browser is signed out, but your session could not be ended on the server. If somebody has a copy of it, it may still work. The service keeps trying to end it for a few minutes.",
		"sign_out_incomplete.next":   "Close the browser. If other people use this device, come back in a few minutes, sign in and sign out again.",
		"sign_out_incomplete.button": "Continue",

		"sign_out_at_provider.title":  "Signing you out",
		"sign_out_at_provider.what":   "This browser is signed out of this service.",
		"sign_out_at_provider.next":   "If nothing happens, press the button to sign out of the sign-in service too.",
		"sign_out_at_provider.button": "Continue",

		"signed_out.title":  "You are signed out",
		"signed_out.what":   "You may close this window.",
		"signed_out.next":   "",
		"signed_out.button": "Sign in",
	},
	"fr": {
		"home":     "Page d’accueil",
		"incident": "Référence à indiquer au support\u00a0:",
		"contact":  "Support\u00a0:",

		"general.title":  "Une erreur est survenue",
		"general.what":   "Votre connexion n’a pas pu aboutir.",
		"general.next":   "Veuillez réessayer. Si le problème persiste, contactez le support de ce service.",
		"general.button": "Réessayer",

		"no_session.title":  "Vous devez vous connecter",
		"no_session.what":   "Cette page est réservée aux personnes connectées. Votre envoi n’a pas été enregistré.",
		"no_session.next":   "Connectez-vous, puis recommencez l’envoi.",
		"no_session.button": "Se connecter",

		"login_required.title":  "Veuillez vous reconnecter",
		"login_required.what":   "Votre connexion est terminée.",
		"login_required.next":   "Reconnectez-vous pour continuer.",
		"login_required.button": "Se connecter",

		"transaction_lost.title":  "Cette connexion ne peut plus aboutir",
		"transaction_lost.what":   "Elle a déjà servi, elle est trop ancienne, ou ce navigateur ne conserve pas les cookies de ce site.",
		"transaction_lost.next":   "Autorisez les cookies de ce site, puis recommencez, dans un seul navigateur.",
		"transaction_lost.button": "Réessayer",

		"provider_unavailable.title":  "La connexion est momentanément indisponible",
		"provider_unavailable.what":   "Le service de connexion ne répond pas.",
		"provider_unavailable.next":   "Veuillez réessayer dans quelques instants.",
		"provider_unavailable.button": "Réessayer",

		"store_unavailable.title":  "Cette page est momentanément indisponible",
		"store_unavailable.what":   "Votre session est momentanément inaccessible. Vous n’avez pas été déconnecté.",
		"store_unavailable.next":   "Veuillez réessayer dans quelques instants.",
		"store_unavailable.button": "Réessayer",

		"cookie_keys_unavailable.title":  "Cette page est momentanément indisponible",
		"cookie_keys_unavailable.what":   "Votre session est momentanément inaccessible. Vous n’avez pas été déconnecté.",
		"cookie_keys_unavailable.next":   "Veuillez réessayer dans quelques instants.",
		"cookie_keys_unavailable.button": "Réessayer",

		"provider_error.title":  "La connexion n’a pas abouti",
		"provider_error.what":   "Elle a été annulée, ou le service de connexion l’a refusée.",
		"provider_error.next":   "Veuillez réessayer. Si le problème persiste, contactez le support de ce service.",
		"provider_error.button": "Réessayer",

		"requirement_unmet.title":  "Vous ne pouvez pas accéder à cette page",
		"requirement_unmet.what":   "Votre compte, ou la façon dont vous vous êtes connecté, ne répond pas aux exigences de cette page.",
		"requirement_unmet.next":   "Connectez-vous avec un autre compte ou une méthode plus sûre, ou contactez le support de ce service.",
		"requirement_unmet.button": "Se connecter autrement",
		"requirement_unmet.other":  "Se connecter avec un autre compte",

		"session_too_large.title":  "Votre compte contient trop de données pour ce service",
		"session_too_large.what":   "Le service de connexion a transmis sur vous plus de données que ce service ne peut en conserver.",
		"session_too_large.next":   "Réessayer n’y changera rien. Contactez le support de ce service, qui peut y remédier.",
		"session_too_large.button": "Page d’accueil",

		"login_refused.title":  "Vous ne pouvez pas vous connecter à ce service",
		"login_refused.what":   "Votre compte a été reconnu, mais il n’a pas accès à ce service.",
		"login_refused.next":   "Connectez-vous avec un autre compte, ou contactez le support de ce service.",
		"login_refused.button": "Se connecter avec un autre compte",

		"cross_origin.title":  "Cette demande a été refusée",
		"cross_origin.what":   "Une page d’un autre site l’a envoyée à ce service en votre nom. Rien n’a été modifié.",
		"cross_origin.next":   "Pour effectuer cette action, passez par les pages de ce service. Si vous y étiez déjà, contactez son support.",
		"cross_origin.button": "Aller à l’accueil",

		"choose.title":  "Se connecter",
		"choose.what":   "Choisissez votre moyen de connexion à ce service.",
		"choose.next":   "Vous reviendrez ensuite à la page demandée.",
		"choose.button": "Se connecter avec {name}",

		"sign_out.title":  "Se déconnecter\u00a0?",
		"sign_out.what":   "Voulez-vous vous déconnecter de ce service\u00a0?",
		"sign_out.next":   "",
		"sign_out.button": "Se déconnecter",
		"sign_out.stay":   "Conserver ma session",

		"continue.title":  "Redirection en cours",
		"continue.button": "Continuer",

		"sign_out_incomplete.title":  "Votre déconnexion n’est pas terminée",
		"sign_out_incomplete.what":   "Ce navigateur est déconnecté, mais votre session n’a pas pu être fermée sur le serveur. Si quelqu’un en possède une copie, elle peut encore fonctionner. Le service essaie encore de la fermer pendant quelques minutes.",
		"sign_out_incomplete.next":   "Fermez le navigateur. Si d’autres personnes utilisent cet appareil, revenez dans quelques minutes, connectez-vous et déconnectez-vous à nouveau.",
		"sign_out_incomplete.button": "Continuer",

		"sign_out_at_provider.title":  "Déconnexion en cours",
		"sign_out_at_provider.what":   "Votre session dans ce service est terminée.",
		"sign_out_at_provider.next":   "Si cette page ne change pas, appuyez sur le bouton pour quitter également le service de connexion.",
		"sign_out_at_provider.button": "Continuer",

		"signed_out.title":  "Votre déconnexion est effectuée",
		"signed_out.what":   "Vous pouvez fermer cette fenêtre.",
		"signed_out.next":   "",
		"signed_out.button": "Se connecter",
	},
}
