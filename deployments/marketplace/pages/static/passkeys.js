// Passkeys: a form that is sent asks the browser's authenticator first, and takes its answer along.

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer ?? 0))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const asking = {
  async create(options) {
    const excludeCredentials = options.excludeCredentials.map((one) => ({ ...one, id: bytes(one.id) }));
    const user = { ...options.user, id: bytes(options.user.id) };
    const publicKey = { ...options, challenge: bytes(options.challenge), user, excludeCredentials };
    const made = await navigator.credentials.create({ publicKey });
    const { clientDataJSON, attestationObject } = made.response;
    return told(made, { clientDataJSON, attestationObject });
  },
  async get(options) {
    const publicKey = { ...options, challenge: bytes(options.challenge) };
    const used = await navigator.credentials.get({ publicKey });
    const { clientDataJSON, authenticatorData, signature, userHandle } = used.response;
    return told(used, { clientDataJSON, authenticatorData, signature, userHandle });
  },
};
const why = {
  NotAllowedError: "Nothing came of it: it was put off, took too long, or this device has no passkey for this site.",
  InvalidStateError: "This device has a passkey of this account already.",
};

/** A credential as JSON has it. */
function told(credential, parts) {
  const response = Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, text(part)]));
  return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });
}

async function fill(form) {
  const answer = await fetch(form.dataset.options, { cache: "no-store", redirect: "manual" });
  if (answer.type === "opaqueredirect") throw new Error("You are signed out: load the page again.");
  if (!answer.ok) throw new Error("The market did not answer: load the page again.");
  const options = await answer.json();
  form.elements.credential.value = await asking[form.dataset.passkey](options);
  form.elements.nonce.value = options.challenge;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = !window.PublicKeyCredential;
  const button = form.querySelector("button");
  const fault = form.querySelector("[role=alert]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    fault.textContent = "";
    try {
      await fill(form);
      form.submit();
    } catch (error) {
      fault.textContent = why[error.name] ?? error.message;
      button.disabled = false;
    }
  });
}
