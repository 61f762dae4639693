"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const sitting = document.body.dataset.sitting;
  const votes = [...document.querySelectorAll(".vote")];
  const picture = byId("picture");

  const AHEAD_AT_LEAST = 6;
  const PAUSE = 1000;
  const TURNS_WHEN_ALL_IS_SAVED = 15;
  const REMEMBERED = 500;

  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const number = (value) => value.toLocaleString("en");

  // ---- What was pressed, until the server has it -------------------------------------------------
  // In the browser's own storage, for the tab may be closed and the browser killed; under the name of
  // this tab, which holds a lock as long as it lives. What a dead tab left another one sends. The server
  // knows what it has by its id, so sending twice does no harm. Not in localStorage: that is on disk some
  // seconds later only.
  const prefix = `webcam-ml-review:${sitting}:`;
  const own = prefix + crypto.randomUUID();
  const lock = (name, options, work) => navigator.locks.request(name, options, work);
  lock(own, {}, () => new Promise(() => {}));
  let unsent = [];
  let sending = false;
  let refused = "";

  const opening = new Promise((resolve, reject) => {
    const request = indexedDB.open("webcam-ml-review", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("unsent");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

  // Does something with what is kept, in one transaction; ends when that is on disk.
  const onDisk = async (work) => {
    try {
      const transaction = (await opening).transaction("unsent", "readwrite", { durability: "strict" });
      const request = work(transaction.objectStore("unsent"));
      // Not by itself once the answer is here: the tab may be closed before.
      transaction.commit();
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
      return request.result;
    } catch (error) {
      notice("on-disk", `This browser keeps nothing on disk (${error.name}): leave this page open until all is saved.`);
      return null;
    }
  };

  const put = (store) => (unsent.length ? store.put(unsent, own) : store.delete(own));
  const keepUnsent = () => onDisk(put);

  // How much other tabs have not sent, by what is on disk; null until that was read.
  let elsewhere = null;

  const adopt = async () => {
    let theirs = 0;
    for (const name of (await onDisk((store) => store.getAllKeys())) ?? []) {
      if (!name.startsWith(prefix) || name === own) continue;
      await lock(name, { ifAvailable: true }, async (free) => {
        const left = (await onDisk((store) => store.get(name))) ?? [];
        if (!free) theirs += left.length;
        if (!free || !left.length) return;
        unsent = [...left, ...unsent];
        await onDisk((store) => {
          store.delete(name);
          return put(store);
        });
      });
    }
    elsewhere = theirs;
    showStatus();
    send();
  };

  const send = async () => {
    if (sending || !unsent.length) return;
    sending = true;
    while (unsent.length) {
      const wishes = unsent.slice(0, 100);
      const answer = await ask("/votes", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ sitting, wishes }),
        keepalive: true,
      });
      if (answer.ok) {
        unsent = unsent.filter((one) => !wishes.includes(one));
        keepUnsent();
        take(await answer.json());
      } else if (answer.status === 422) {
        // The server will never take these; the others must not wait behind them for ever.
        await sendOneByOne(wishes);
      } else {
        await sleep(PAUSE);
      }
    }
    sending = false;
  };

  const sendOneByOne = async (wishes) => {
    for (const wish of wishes) {
      const answer = await ask("/votes", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ sitting, wishes: [wish] }),
      });
      if (!answer.ok && answer.status !== 422) return;
      if (answer.status === 422) {
        notice(wish.id, `A vote on snapshot ${wish.snapshot_id ?? "?"} was refused: ${await answer.text()}`);
      }
      unsent = unsent.filter((one) => one !== wish);
      keepUnsent();
    }
  };

  // A fetch that does not throw: status 0 where nobody answers.
  const ask = async (path, options = {}) => {
    try {
      const answer = await fetch(path, { ...options, cache: "no-store", redirect: "error" });
      refused = {
        403: "The server does not know this page: open the address that webcam-ml review printed. What you pressed is kept.",
        409: "webcam-ml review was started again for somebody else or another database: reload this page. What you pressed is kept for when it is started as before.",
        507: "The server cannot write its journal: what you pressed is kept in this page.",
      }[answer.status] ?? "";
      if (answer.status === 503) refused = (await answer.clone().json().catch(() => ({}))).trouble ?? "";
      showTrouble();
      return answer;
    } catch {
      refused = "The server does not answer: what you pressed is kept in this page, and sent when it is back.";
      showTrouble();
      return { ok: false, status: 0 };
    }
  };

  // ---- How far it is -----------------------------------------------------------------------------
  let status = null;
  // Answers may come in another order than they were made in, so what is shown counts as the last only once
  // a question was answered that was asked when nothing else was underway.
  let changes = 0;
  let settled = -1;
  const noticed = new Set();

  const take = (news) => {
    status = news;
    for (const one of news.notices) notice(one.id, one.text);
    showStatus();
    if (!current && !looking) showFrame();
  };

  const notice = (id, text) => {
    if (noticed.has(id)) return;
    noticed.add(id);
    const item = document.createElement("li");
    item.textContent = text;
    byId("notices").append(item);
    byId("notices").hidden = false;
  };

  const showTrouble = () => {
    const text = refused || status?.trouble || "";
    if (byId("trouble").textContent !== text) byId("trouble").textContent = text;
    byId("trouble").hidden = !text;
  };

  const showStatus = () => {
    const kept = byId("kept");
    const parts = [];
    if (unsent.length) parts.push(`${number(unsent.length)} not sent yet`);
    if (elsewhere) parts.push(`${number(elsewhere)} not sent yet by another tab`);
    if (status?.waiting.length) parts.push(`${number(status.waiting.length)} in the journal, not saved yet`);
    kept.dataset.state = parts.length || elsewhere === null ? "waiting" : "saved";
    kept.textContent = parts.join(" · ") || (elsewhere === null ? "Loading…" : status?.rated ? "All saved" : "Nothing to save");
    showTrouble();
    if (!status) return;
    byId("progress").max = status.total;
    byId("progress").value = status.rated;
    const counts = [`${number(status.rated)} rated`, `${number(status.left)} left`];
    if (status.an_hour) counts.push(`${number(Math.round(status.an_hour))} an hour`);
    const hidden = Object.entries(status.not_shown).map(([why, count]) => `${number(count)} ${why}`);
    if (hidden.length) counts.push(`not shown: ${hidden.join(", ")}`);
    byId("counts").textContent = counts.join(" · ");
  };

  const poll = async () => {
    for (let turn = 1; ; turn += 1) {
      await sleep(PAUSE);
      const busy = settled !== changes || elsewhere || status?.waiting.length || status?.trouble || refused;
      if (!busy && turn % TURNS_WHEN_ALL_IS_SAVED) continue;
      await adopt();
      const seen = unsent.length || fetching ? -1 : changes;
      const answer = await ask("/status");
      if (!answer.ok) continue;
      take(await answer.json());
      settled = seen;
    }
  };

  // ---- Which frame -------------------------------------------------------------------------------
  // `past`: frames that were voted on or skipped, in order, each with its votes; `done`: what an undo
  // takes back, the last first. They survive a reload.
  const remembered = JSON.parse(sessionStorage.getItem(prefix) ?? "null");
  const past = remembered?.past ?? [];
  const done = remembered?.done ?? [];
  let from = remembered?.from ?? 0;
  const ahead = [];
  let current = null;
  let looking = null;
  let isShown = false;
  let fetching = false;
  let isEnd = false;

  const remember = () => {
    past.splice(0, past.length - REMEMBERED);
    done.splice(0, done.length - REMEMBERED);
    // A reload begins with the frame that is open.
    const place = current?.place ?? ahead[0]?.place ?? from;
    const text = JSON.stringify({ past, done, from: place }, (name, value) => name === "image" ? undefined : value);
    sessionStorage.setItem(prefix, text);
  };

  const others = new BroadcastChannel(prefix);
  others.addEventListener("message", ({ data }) => {
    const place = ahead.findIndex((frame) => frame.snapshot_id === data);
    if (place >= 0) ahead.splice(place, 1);
    if (current?.snapshot_id === data) {
      current = null;
      next();
    }
  });

  const preload = (frame) => {
    frame.image = new Image();
    frame.image.src = `/pictures/${frame.snapshot_id}`;
    return frame;
  };

  const fetchAhead = async () => {
    if (fetching || isEnd || ahead.length >= AHEAD_AT_LEAST) return;
    fetching = true;
    changes += 1;
    while (!isEnd && ahead.length < AHEAD_AT_LEAST) {
      const answer = await ask(`/frames?from=${from}`);
      if (!answer.ok) {
        await sleep(PAUSE);
        continue;
      }
      const { frames, from: after, status: news } = await answer.json();
      const known = new Set([current, ...ahead, ...past].map((frame) => frame?.snapshot_id));
      ahead.push(...frames.filter((frame) => !known.has(frame.snapshot_id)).map(preload));
      isEnd = after >= news.total;
      from = after;
      take(news);
      if (!current) next();
    }
    fetching = false;
    if (!current) showFrame();
  };

  const next = () => {
    current ??= ahead.shift() ?? null;
    remember();
    showFrame();
    fetchAhead();
  };

  const frameOnScreen = () => looking ?? current;

  const showFrame = () => {
    const frame = frameOnScreen();
    isShown = false;
    delete document.body.dataset.shown;
    picture.replaceChildren();
    byId("instead").hidden = false;
    byId("instead").textContent = frame || !isEnd ? "Loading…" : ending();
    byId("title").textContent = frame?.title ?? "";
    byId("facts").textContent = frame
      ? [`snapshot ${frame.snapshot_id}`, frame.phase, frame.captured_at && `${frame.captured_at} UTC`].filter(Boolean).join(" · ")
      : "";
    const mine = looking ? looking.vote ?? "skipped" : "";
    byId("mine").hidden = !looking;
    byId("mine").textContent = looking ? `your vote: ${mine}` : "";
    for (const button of votes) button.setAttribute("aria-pressed", String(Boolean(looking) && button.dataset.vote === mine));
    byId("undo").disabled = !done.length;
    byId("back").disabled = looking ? past.indexOf(looking) === 0 : !past.length;
    byId("on").disabled = !looking;
    byId("skip").disabled = !current || Boolean(looking);
    if (!frame) return;
    if (!frame.image) preload(frame);
    const { image } = frame;
    image.decode().then(() => {
      if (frameOnScreen() !== frame) return;
      image.alt = `${frame.title}, ${frame.phase}`;
      picture.replaceChildren(image);
      byId("instead").hidden = true;
      isShown = true;
      document.body.dataset.shown = frame.snapshot_id;
    }, () => {
      // The server may be on its way back: the picture is asked for again as long as it is wanted.
      if (frameOnScreen() !== frame) return;
      byId("instead").textContent = "The picture does not come. Space skips it.";
      setTimeout(() => {
        if (frameOnScreen() !== frame) return;
        delete frame.image;
        showFrame();
      }, PAUSE);
    });
  };

  const ending = () => {
    if (!status) return "Loading…";
    const skipped = past.filter((frame) => !frame.vote).length;
    const lines = [status.left ? "The end of the list." : "Nothing is left to rate."];
    if (status.rated) lines.push(`Rated: ${number(status.rated)}.`);
    const hidden = Object.entries(status.not_shown).map(([why, count]) => `${number(count)} ${why}`);
    if (hidden.length) lines.push(`Not shown: ${hidden.join(", ")}.`);
    if (status.left) lines.push(skipped ? `${number(skipped)} were skipped: they come again when this page is opened anew.` : "Some were left open elsewhere: open this page anew to see them.");
    return lines.join("\n");
  };

  const say = (text) => { byId("spoken").textContent = text; };
  const described = (frame) => frame ? `Now: ${frame.title}, ${frame.phase}.` : "";

  // ---- What can be done --------------------------------------------------------------------------
  const wish = (entry) => {
    unsent.push(entry);
    changes += 1;
    keepUnsent();
    showStatus();
    send();
  };

  const vote = (value) => {
    const frame = frameOnScreen();
    if (!frame) return;
    if (!isShown) return say("Not yet: the picture is not there.");
    const id = crypto.randomUUID();
    wish({ id, snapshot_id: frame.snapshot_id, vote: value });
    done.push({ id, snapshot_id: frame.snapshot_id, before: frame.vote ?? null });
    if (looking) {
      looking.vote = value;
      step(1);
    } else {
      past.push({ ...frame, image: undefined, vote: value });
      others.postMessage(frame.snapshot_id);
      current = null;
      next();
    }
    remember();
    say(`${value}. ${described(frameOnScreen())}`);
    reveal(frame, value);
  };

  const skip = () => {
    if (!current || looking) return;
    past.push({ ...current, image: undefined, vote: null });
    done.push({ snapshot_id: current.snapshot_id });
    current = null;
    next();
    say(`Skipped. ${described(current)}`);
  };

  const undo = () => {
    const last = done.pop();
    if (!last) return;
    if (last.id) wish({ id: crypto.randomUUID(), undoes: last.id });
    const frame = past.find((one) => one.snapshot_id === last.snapshot_id);
    if (frame) {
      frame.vote = last.before ?? null;
      looking = frame;
      // Taken back wholly, it is open again, and in its place before those that come.
      if (frame === past.at(-1) && !done.some((one) => one.snapshot_id === frame.snapshot_id)) {
        past.pop();
        if (current) ahead.unshift(current);
        current = frame;
        looking = null;
      }
    }
    byId("others").hidden = true;
    remember();
    showFrame();
    say(`Undone. ${described(frameOnScreen())}`);
  };

  const step = (by) => {
    const place = (looking ? past.indexOf(looking) : past.length) + by;
    if (place < 0) return;
    looking = past[place] ?? null;
    showFrame();
    if (looking) say(`Looking back: ${looking.title}, your vote was ${looking.vote ?? "none"}.`);
  };

  const reveal = async (frame, value) => {
    const box = byId("others");
    if (!byId("reveal")?.checked) {
      box.hidden = true;
      return;
    }
    // Others speak only once the server has the vote.
    while (unsent.some((one) => one.snapshot_id === frame.snapshot_id)) await sleep(50);
    const answer = await ask(`/said/${frame.snapshot_id}`);
    if (!answer.ok) return;
    const { said } = await answer.json();
    box.querySelector("h2").textContent = `Snapshot ${frame.snapshot_id}: you ${value}${said.length ? "" : ", nobody else anything"}`;
    box.querySelector("dl").replaceChildren(...said.map(({ who, what }) => {
      const pair = document.createElement("div");
      for (const [tag, text] of [["dt", who], ["dd", what]]) {
        const part = document.createElement(tag);
        const isolated = document.createElement("bdi");
        isolated.textContent = text;
        part.append(isolated);
        pair.append(part);
      }
      return pair;
    }));
    box.hidden = false;
  };

  const keys = { " ": skip, z: undo, ArrowLeft: () => step(-1), ArrowRight: () => looking && step(1) };
  for (const button of votes) {
    if (button.disabled) continue;
    button.addEventListener("click", () => vote(button.dataset.vote));
    keys[button.dataset.vote.toLowerCase()] = () => vote(button.dataset.vote);
  }
  byId("skip").addEventListener("click", skip);
  byId("undo").addEventListener("click", undo);
  byId("back").addEventListener("click", () => step(-1));
  byId("on").addEventListener("click", () => looking && step(1));
  byId("reveal")?.addEventListener("change", () => { byId("others").hidden = true; });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    // Space presses a button or a box that has the focus.
    if (event.key === " " && event.target.closest("button, input")) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    // A key that is held down is one press.
    if (!event.repeat) act();
  });

  showFrame();
  showStatus();
  adopt();
  fetchAhead();
  poll();
})();
