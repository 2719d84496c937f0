/* Passkeys: the account page has the browser make one, a promotion's page has it sign what is
   approved. Without this file neither can be done, and both pages say so. */
(function () {
  "use strict";

  // --- Bytes travel as base64url ------------------------------------------------------

  function toBytes(text) {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
  }

  function toText(buffer) {
    let plain = "";
    for (const byte of new Uint8Array(buffer)) plain += String.fromCharCode(byte);
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }

  function named(credentials) {
    return (credentials || []).map((each) => ({ ...each, id: toBytes(each.id) }));
  }

  // --- Saying what went wrong ----------------------------------------------------------

  function complain(form, text) {
    const place = form.querySelector("[data-passkey-problem]");
    place.querySelector("[data-problem]").textContent = text;
    place.hidden = !text;
  }

  function inWords(error) {
    if (error.name === "NotAllowedError") {
      return "The browser got no answer from a passkey: it was cancelled or took too long.";
    }
    if (error.name === "SecurityError") {
      return "The browser allows no passkey at this address. Open Sluice by the address that it is set up for.";
    }
    if (error.name === "InvalidStateError") return "This device has a passkey of yours already.";
    return error.message;
  }

  function requirePasskeys() {
    if (window.isSecureContext && window.PublicKeyCredential) return;
    throw new Error("This browser offers no passkeys here. They need https, or localhost.");
  }

  async function ask(url, options) {
    const response = await fetch(url, { method: "POST", credentials: "same-origin", ...options });
    let answer = {};
    try {
      answer = await response.json();
    } catch (error) {
      /* What is no JSON is told by its status. */
    }
    if (response.ok) return answer;
    throw new Error(answer.detail || `Sluice answered with status ${response.status}.`);
  }

  // --- Making a passkey: <form data-passkey-begin="where the options are"> --------------

  async function make(form) {
    const options = await ask(form.dataset.passkeyBegin, { body: new FormData(form) });
    const made = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        user: { ...options.user, id: toBytes(options.user.id) },
        excludeCredentials: named(options.excludeCredentials),
      },
    });
    form.elements.credential.value = JSON.stringify({
      id: made.id,
      rawId: toText(made.rawId),
      type: made.type,
      response: {
        clientDataJSON: toText(made.response.clientDataJSON),
        attestationObject: toText(made.response.attestationObject),
        transports: made.response.getTransports ? made.response.getTransports() : [],
      },
    });
    // It was asked for the options, and need not travel once more.
    form.elements.password.disabled = true;
  }

  // --- Signing: <button data-passkey-sign="where the challenge is"> ---------------------

  async function sign(form, url) {
    const { nonce, options } = await ask(url, {
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
      },
      body: JSON.stringify({ plan_digest: form.elements.plan_digest.value }),
    });
    const signed = await navigator.credentials.get({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        allowCredentials: named(options.allowCredentials),
      },
    });
    const answer = {
      nonce,
      credential_id: toText(signed.rawId),
      authenticator_data: toText(signed.response.authenticatorData),
      client_data: toText(signed.response.clientDataJSON),
      signature: toText(signed.response.signature),
    };
    for (const [name, value] of Object.entries(answer)) {
      form.elements[`passkey_${name}`].value = value;
    }
  }

  // --- Before the form is sent -----------------------------------------------------------

  const ready = new WeakSet();
  const busy = new WeakSet();

  document.addEventListener(
    "submit",
    async (event) => {
      const form = event.target;
      const submitter = event.submitter;
      const signing = submitter ? submitter.dataset.passkeySign : "";
      if (!signing && !form.dataset.passkeyBegin) return;
      if (ready.delete(form)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (busy.has(form)) return;
      busy.add(form);
      complain(form, "");
      try {
        requirePasskeys();
        await (signing ? sign(form, signing) : make(form));
        ready.add(form);
        form.requestSubmit(submitter || undefined);
      } catch (error) {
        complain(form, inWords(error));
      } finally {
        busy.delete(form);
      }
    },
    true,
  );
})();
