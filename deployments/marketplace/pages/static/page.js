// What pages do beyond what HTML does by itself: regions that are kept up to date, text that is copied at a press.

const policy = window.trustedTypes?.createPolicy("page", { createHTML: (text) => text }) ?? { createHTML: (text) => text };

/** How long a form may stand until it is looked whether its reader is still signed in. */
const STANDS_MS = 300_000;

/** The same place of the region after it was filled anew: by its id, which names what it stands for. */
function focusAgain(region, id) {
  if (id) region.ownerDocument.getElementById(id)?.focus({ preventScroll: true });
}

/** What is at this address now; whoever is not signed in any more is told so, and gets no form in the place of an answer. */
async function ask(address, headers = {}) {
  const answer = await fetch(address, { headers, cache: "no-store", redirect: "manual" });
  if (answer.type === "opaqueredirect") document.getElementById("signed-out").hidden = false;
  return answer;
}

/** What each region was filled with, as it came: what scripts have done to it since is not in it. */
const filled = new WeakMap();

/** Puts in what differs from what came before, piece by piece: what is the same stays, with what its reader has selected in it. */
function renew(region, text) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(text);
  const [before, now] = [filled.get(region), template.content.cloneNode(true)];
  filled.set(region, now);
  prepare(template.content);
  const [standing, pieces] = [[...region.children], [...template.content.children]];
  pieces.forEach((piece, at) => {
    if (!standing[at]) region.append(piece);
    else if (!before.children[at].isEqualNode(now.children[at])) standing[at].replaceWith(piece);
  });
  for (const piece of standing.slice(pieces.length)) piece.remove();
}

async function refresh(region) {
  const known = region.dataset.etag;
  const answer = await ask(region.dataset.live, known ? { "If-None-Match": known } : {});
  if (answer.status !== 200) return;
  const text = await answer.text();
  const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...region.querySelectorAll("details[open]")].map((one) => one.id);
  renew(region, text);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  region.dataset.etag = answer.headers.get("ETag") ?? "";
  if (!region.contains(document.activeElement)) focusAgain(region, focused);
}

/** Ask again and again, only while somebody looks; a market that does not answer is asked less often. */
function follow(region) {
  const everyMs = 1000 * Number(region.dataset.everyS);
  let waitMs = everyMs;
  const turn = async () => {
    if (!region.isConnected || region.querySelector("[data-over]") || !document.getElementById("signed-out").hidden) return;
    if (!document.hidden) {
      try {
        await refresh(region);
        waitMs = everyMs;
      } catch {
        waitMs = Math.min(60_000, 2 * waitMs);
      }
    }
    setTimeout(turn, waitMs);
  };
  setTimeout(turn, waitMs);
}

/** Dots become links as soon as somebody points at the picture: a thousand links at once would come later than the list. */
function enliven(dots) {
  const fill = async (event) => {
    const answer = await ask(dots.dataset.points);
    if (!answer.ok) return;
    dots.innerHTML = policy.createHTML(await answer.text());
    const link = document.elementFromPoint(event.clientX, event.clientY)?.closest("a");
    if (event.pointerType === "touch" && dots.contains(link)) location.assign(link.href.baseVal);
  };
  dots.ownerSVGElement.addEventListener("pointerenter", fill, { once: true });
}

/** Buttons that copy are there only where something can be copied. */
function prepare(place) {
  place.querySelectorAll("[data-points]").forEach(enliven);
  for (const button of place.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = "copied";
      setTimeout(() => (button.textContent = "copy"), 3_000);
    });
  }
}

/** The price is that of what is in the form now; of its fields only those are asked with that the price depends on. */
function price(form) {
  const names = form.dataset.priceOf.split(" ");
  const shown = document.getElementById("price-now");
  let asked = 0;
  let timer = 0;
  const refill = async () => {
    const mine = ++asked;
    const fields = new FormData(form);
    const query = new URLSearchParams(names.map((name) => [name, fields.get(name) ?? ""]));
    const answer = await ask(`${form.dataset.price}?${query}`);
    const text = await answer.text();
    if (answer.ok && mine === asked) shown.innerHTML = policy.createHTML(text);
  };
  form.addEventListener("input", (event) => {
    if (!names.includes(event.target.name)) return;
    clearTimeout(timer);
    timer = setTimeout(refill, 250);
  });
}

/** Whose page it is. */
const reader = (page) => page.querySelector("form.who span")?.textContent;

/** A form that has stood for long is sent only while its reader is signed in; else what was typed stays, until the same reader is again. */
function hold(form) {
  const signedOut = document.getElementById("signed-out");
  let isSure = false;
  form.addEventListener("submit", async (event) => {
    if (isSure || (signedOut.hidden && performance.now() < STANDS_MS)) return;
    event.preventDefault();
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const now = new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html");
      signedOut.hidden = !answer.ok || reader(now) === reader(document);
      const token = now.querySelector(`form[action="${CSS.escape(form.getAttribute("action"))}"] [name=form_token]`);
      if (token) form.elements.form_token.value = token.value;
    } catch {
      signedOut.hidden = true; // whether it can be sent is then for the browser to say
    }
    if (!signedOut.hidden) return signedOut.scrollIntoView({ block: "center" });
    isSure = true;
    form.requestSubmit(event.submitter);
  });
}

const live = [...document.querySelectorAll("[data-live]")];
for (const region of live) filled.set(region, region.cloneNode(true));
prepare(document);
document.querySelectorAll("form[data-price]").forEach(price);
live.forEach(follow);
if (reader(document)) document.querySelectorAll("main form[method=post]:not([data-passkey])").forEach(hold);
