// The log of a lease as it is printed: so much of it at most, at its end unless its reader has scrolled up.

const MOST_LINES = 5_000;
const MOST_CHARACTERS = 512 * 1024;
const NEAR_PX = 40;
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 60_000;
/** What passes by itself; anything else ends the feed until it is asked for again. */
const PASSING = new Set(["MACHINE_AWAY", "AWAY", "DATABASE_AWAY", "TOO_MANY_SESSIONS", "TOO_MANY_FEEDS", "TOO_MANY_REQUESTS"]);

/** Text behind which older text is let go of. */
function bounded(log) {
  const pieces = [];
  let lines = 0;
  let characters = 0;
  return (text) => {
    const all = text.split("\n");
    const kept = (all.length > MOST_LINES ? all.slice(-MOST_LINES).join("\n") : text).slice(-MOST_CHARACTERS);
    const piece = { node: document.createTextNode(kept), lines: kept.split("\n").length - 1, characters: kept.length };
    pieces.push(piece);
    log.append(piece.node);
    lines += piece.lines;
    characters += piece.characters;
    while (pieces.length > 1 && (lines > MOST_LINES || characters > MOST_CHARACTERS)) {
      const oldest = pieces.shift();
      oldest.node.remove();
      lines -= oldest.lines;
      characters -= oldest.characters;
    }
  };
}

function follow(log) {
  const state = document.getElementById("log-state");
  const newest = document.getElementById("log-newest");
  const again = document.getElementById("log-again");
  const begun = log.textContent;
  const add = bounded(log);
  let isAtEnd = true;
  let behind = log.dataset.behind;
  let waitMs = FIRST_WAIT_MS;

  const toEnd = () => {
    log.scrollTop = log.scrollHeight;
  };
  const write = (text) => {
    const wasAtEnd = isAtEnd;
    add(text);
    if (wasAtEnd) toEnd();
  };
  const later = (why) => {
    state.textContent = `${why}; it is tried again in ${Math.round(waitMs / 1000)} s.`;
    setTimeout(open, waitMs);
    waitMs = Math.min(LONGEST_WAIT_MS, 2 * waitMs);
  };

  function open() {
    again.hidden = true;
    const source = new EventSource(`${log.dataset.follow}&behind=${behind}`);
    source.addEventListener("open", () => {
      state.textContent = "New lines follow by themselves.";
    });
    source.addEventListener("log", (event) => {
      const told = JSON.parse(event.data);
      if (told.truncated) write("[some lines are missing here: there were more than can be followed]\n");
      write(told.text);
      behind = event.lastEventId || behind;
      waitMs = FIRST_WAIT_MS;
    });
    source.addEventListener("end", (event) => {
      source.close();
      const { code, detail } = JSON.parse(event.data);
      if (PASSING.has(code)) {
        later(`Not followed now: ${detail}`);
        return;
      }
      state.textContent = `Ended: ${detail}.`;
      again.hidden = false;
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) later("The market does not answer, or you are signed out");
      else state.textContent = "The connection broke; it is made again.";
    });
  }

  log.addEventListener("scroll", () => {
    isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
    newest.hidden = isAtEnd;
  });
  newest.addEventListener("click", () => {
    toEnd();
    log.focus({ preventScroll: true });
  });
  again.addEventListener("click", () => {
    log.focus({ preventScroll: true });
    open();
  });
  log.textContent = "";
  write(begun);
  open();
}

document.querySelectorAll("pre[data-follow]").forEach(follow);
