"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const places = document.querySelector(".cards");
  const cards = [...places.children];
  const form = document.querySelector(".tools");
  const dialog = byId("details");
  const controls = ["search", "list", "direction", "origin", "phase", "sort", "blind"].map(byId);
  const [search, list, direction, origin, phase, sort, blind] = controls;

  const folded = (text) => text.normalize("NFKC").toLocaleLowerCase();
  const words = new Map(cards.map((card) => [
    card, folded(`${card.querySelector(".title").textContent} ${card.dataset.webcam}`),
  ]));
  const number = (name) => (card) => Number(card.dataset[name]);
  const up = (key) => (a, b) => key(a) - key(b);
  const down = (key) => (a, b) => key(b) - key(a);
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  // A picture without a date comes last, whichever end of time is first.
  const dated = (sign) => (a, b) => {
    const [first, second] = [a.dataset.date, b.dataset.date];
    if (!first || !second) return (first ? 0 : 1) - (second ? 0 : 1);
    return first < second ? -sign : first > second ? sign : 0;
  };
  const orders = {
    listed: (a, b) => (list.value === "queue" ? byPosition(a, b) : 0),
    difference: down(number("difference")),
    "people-high": down(number("people")),
    "people-low": up(number("people")),
    newest: dated(-1),
    oldest: dated(1),
    webcam: (a, b) => collator.compare(
      a.querySelector(".title").textContent, b.querySelector(".title").textContent),
  };
  const byRank = up(number("rank"));
  const byPosition = up(number("position"));
  const lists = { worst: "listed", queue: "position", answered: "answered" };

  let shown = cards;

  // "#47" finds snapshot 47, whatever else is chosen.
  const wanted = () => /^#(\d+)$/.exec(search.value.trim())?.[1];
  const matches = (card) => wanted() ? card.dataset.snapshot === wanted() :
    card.dataset[lists[list.value]] &&
    (!direction.value || card.dataset.direction === direction.value) &&
    (!origin.value || card.dataset.origin === origin.value) &&
    (!phase.value || card.dataset.phase === phase.value) &&
    folded(search.value).split(/\s+/).every((word) => words.get(card).includes(word));

  // Only one card at a time is a tab stop; arrows move it. 200 pictures would be 400 stops.
  const makeStop = (card) => {
    for (const other of cards) {
      const index = other === card ? 0 : -1;
      for (const stop of other.querySelectorAll(".open, .permalink, .source")) stop.tabIndex = index;
    }
  };

  const hideRatings = () => {
    document.body.classList.toggle("blind", blind.checked);
    direction.disabled = blind.checked;
    if (blind.checked) direction.value = "";
    for (const option of sort.querySelectorAll(".telling")) option.disabled = blind.checked;
    if (sort.selectedOptions[0].disabled) sort.value = "listed";
    // What describes a button is read out even where it is not to be seen.
    for (const card of cards) {
      const button = card.querySelector(".open");
      if (blind.checked) button.removeAttribute("aria-describedby");
      else button.setAttribute("aria-describedby", card.querySelector(".ratings").id);
    }
  };

  const update = () => {
    hideRatings();
    const order = orders[sort.value];
    cards.sort((a, b) => order(a, b) || byRank(a, b));
    places.append(...cards);
    shown = cards.filter((card) => {
      card.hidden = !matches(card);
      const { position, rank } = card.dataset;
      card.querySelector(".rank").textContent = list.value === "queue" ? position : rank;
      return !card.hidden;
    });
    const total = cards.filter((card) => card.dataset[lists[list.value]]).length;
    const all = total.toLocaleString("en");
    byId("status").textContent = wanted()
      ? `Snapshot ${wanted()} is ${shown.length ? "" : "not "}on this page`
      : shown.length === total
      ? `${all} pictures` : `${shown.length.toLocaleString("en")} of ${all} pictures`;
    document.querySelector(".empty").hidden = shown.length > 0;
    if (shown.length) makeStop(shown[0]);
    note();
  };

  // What is chosen stands in the address, so that it can be kept and sent: #47, #list=queue&blind=on.
  const chosen = (control) => control.type === "checkbox" ? (control.checked ? "on" : "") : control.value;
  const usual = new Map(controls.map((control) => [control, chosen(control)]));
  let noting;
  const note = () => {
    clearTimeout(noting);
    // A browser may refuse an address for every letter that is typed.
    noting = setTimeout(() => {
      const parts = new URLSearchParams();
      for (const control of controls) {
        if (chosen(control) !== usual.get(control)) parts.set(control.id, chosen(control));
      }
      const open = dialog.open ? shown[Number(dialog.dataset.place)].dataset.snapshot : "";
      if (open) parts.set("snapshot", open);
      const only = [...parts].length === 1;
      const text = only && (open || (search.value && wanted())) || parts.toString();
      history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
    }, 200);
  };
  const read = () => {
    const text = location.hash.slice(1);
    const parts = new URLSearchParams(/^\d+$/.test(text) ? `snapshot=${text}` : text);
    for (const control of controls) {
      const value = parts.get(control.id) ?? usual.get(control);
      if (control.type === "checkbox") control.checked = value === "on";
      else control.value = value;
      if (control.selectedIndex === -1) control.value = usual.get(control);
    }
    const snapshot = parts.get("snapshot");
    const card = cards.find((one) => one.dataset.snapshot === snapshot);
    update();
    if (snapshot && !shown.includes(card)) {
      search.value = `#${snapshot}`;
      update();
    }
    if (card) show(card);
    else if (dialog.open) dialog.close();
  };

  const focusCard = (card) => {
    makeStop(card);
    card.querySelector(".open").focus();
    card.scrollIntoView({ block: "nearest" });
  };

  const columns = () => {
    const top = shown[0].offsetTop;
    const wrapped = shown.findIndex((card) => card.offsetTop !== top);
    return wrapped === -1 ? shown.length : wrapped;
  };

  places.addEventListener("keydown", (event) => {
    const here = shown.indexOf(event.target.closest(".card"));
    if (here === -1 || event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = {
      ArrowRight: () => here + 1,
      ArrowLeft: () => here - 1,
      ArrowDown: () => here + columns(),
      ArrowUp: () => here - columns(),
      Home: () => 0,
      End: () => shown.length - 1,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const target = shown[steps[event.key]()];
    if (target) focusCard(target);
  });

  const show = (card) => {
    const place = shown.indexOf(card);
    byId("details-title").replaceChildren(card.querySelector(".title bdi").cloneNode(true));
    const copy = (part) => {
      const node = card.querySelector(part).cloneNode(true);
      node.removeAttribute("id");
      node.hidden = false;
      for (const link of node.querySelectorAll("a")) link.tabIndex = 0;
      return node;
    };
    const [figure, text] = byId("details-content").children;
    figure.replaceChildren(copy("img, .gone"));
    text.replaceChildren(...[".meta", ".scale", ".ratings", ".foot", ".facts"].map(copy));
    dialog.className = card.dataset.direction;
    byId("place").textContent = `${place + 1} of ${shown.length}`;
    byId("previous").disabled = place === 0;
    byId("next").disabled = place === shown.length - 1;
    makeStop(card);
    dialog.dataset.place = place;
    if (!dialog.open) dialog.showModal();
    note();
  };
  const turn = (step) => {
    const card = shown[Number(dialog.dataset.place) + step];
    if (card) show(card);
  };

  places.addEventListener("click", (event) => {
    const opener = event.target.closest(".open, .permalink");
    if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(opener.closest(".card"));
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    focusCard(shown[Number(dialog.dataset.place)]);
    note();
  });

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (dialog.open) {
      // Here and not on the dialog: on the last card the focused button becomes disabled.
      if (event.key === "ArrowLeft") turn(-1);
      if (event.key === "ArrowRight") turn(1);
    } else if (event.key === "/" && !event.target.closest("input, select")) {
      event.preventDefault();
      search.focus();
    }
  });

  for (const control of controls) control.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  byId("more").addEventListener("click", (event) => {
    const expanded = form.classList.toggle("expanded");
    event.currentTarget.setAttribute("aria-expanded", expanded);
  });
  byId("clear").addEventListener("click", () => {
    form.reset();
    search.focus();
  });

  form.hidden = false;
  document.querySelector(".keys").hidden = false;
  addEventListener("hashchange", read);
  read();
})();
