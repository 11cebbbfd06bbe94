// Wallets in the browser: where one is there, it is asked to sign the text that the page shows.

const form = document.querySelector("form[data-wallets]");
const place = form?.querySelector("[data-wallet]");
const wallets = Object.values(window.injectedWeb3 ?? {});

/** The wallet that has this hotkey, unlocked by its user; undefined: none has. One that refuses does not keep the others from being asked. */
async function signerOf(hotkey) {
  let refused;
  for (const wallet of wallets) {
    try {
      const opened = await wallet.enable("GPU market");
      const accounts = await opened.accounts.get();
      if (accounts.some((one) => one.address === hotkey)) return opened.signer;
    } catch (error) {
      refused = error;
    }
  }
  if (refused) throw refused;
  return undefined;
}

async function sign() {
  const hotkey = form.elements.hotkey.value;
  const signer = await signerOf(hotkey);
  if (!signer?.signRaw) throw new Error("no wallet in this browser has this hotkey, or lets us see it");
  const text = new TextEncoder().encode(form.querySelector("#text").textContent);
  const data = `0x${[...text].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  const { signature } = await signer.signRaw({ address: hotkey, data, type: "bytes" });
  form.elements.signature.value = signature;
  form.requestSubmit();
}

if (place && wallets.length) {
  const [button, fault] = [place.querySelector("button"), place.querySelector("[role=alert]")];
  place.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    fault.textContent = "";
    try {
      await sign();
    } catch (error) {
      fault.textContent = `Nothing was signed: ${String(error?.message ?? error).slice(0, 200)}.`;
    }
    button.disabled = false;
  });
}
