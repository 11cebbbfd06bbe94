// What pages do beyond what HTML does by itself: regions that are kept up to date, text that is copied at a press.

const policy = window.trustedTypes?.createPolicy("page", { createHTML: (text) => text }) ?? { createHTML: (text) => text };

/** The same place of the region after it was filled anew: by its id, which names what it stands for. */
function focusAgain(region, id) {
  if (id) region.ownerDocument.getElementById(id)?.focus({ preventScroll: true });
}

async function refresh(region) {
  const known = region.dataset.etag;
  const answer = await fetch(region.dataset.live, { headers: known ? { "If-None-Match": known } : {}, cache: "no-store" });
  if (answer.status !== 200) return;
  const text = await answer.text();
  const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
  region.innerHTML = policy.createHTML(text);
  region.dataset.etag = answer.headers.get("ETag") ?? "";
  focusAgain(region, focused);
  prepare(region);
}

/** Ask again and again, only while somebody looks; a market that does not answer is asked less often. */
function follow(region) {
  const everyMs = 1000 * Number(region.dataset.everyS);
  let waitMs = everyMs;
  const turn = async () => {
    if (!region.isConnected) return;
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

/** Buttons that copy are there only where something can be copied. */
function prepare(place) {
  for (const button of place.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = "copied";
    });
  }
}

prepare(document);
document.querySelectorAll("[data-live]").forEach(follow);
