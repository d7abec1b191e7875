"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 60;
  const $ = (id) => document.getElementById(id);
  const series = data.series.map((row) => {
    for (const at of data.shared) if (row[at] !== "") row[at] = data.texts[row[at]];
    const item = Object.fromEntries(data.columns.map((name, at) => [name, row[at]]));
    item.owner = data.collections[item.collection];
    item.folder = item.folder || `${item.patient}/${item.study}/${item.uid}`;
    item.text = [item.owner, item.patient, item.modality, item.description, item.bodyPart,
      item.studyDescription, item.scanner, item.uid, item.study].join("\n").toLowerCase();
    return item;
  });
  let shown = series, first = 0, opened = -1;

  // Everything from the data becomes text: no markup is parsed.
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const LEVELS = { volume: "good", "irregular slices": "warn", "not read": "warn" };
  const level = (item) => item.state !== "complete" ? "bad"
    : item.reason ? "warn" : LEVELS[item.kind] || "";
  const mark = (item) => item.state === "damaged" ? "damaged"
    : item.state === "missing-files" ? "missing files"
    : item.reason && item.kind !== "not read" ? `${item.kind}, not decoded` : item.kind;
  const images = (item) => `${item.images.toLocaleString("en")} image${item.images === 1 ? "" : "s"}`;

  const picture = (item, lazy) => {
    if (!item.thumbnail) return element("span", {}, item.reason || "no image");
    const source = data.thumbnails ? `${data.thumbnails}${item.thumbnail}.jpg`
      : `data:image/jpeg;base64,${item.thumbnail}`;
    const image = element("img", { alt: "", decoding: "async" });
    if (lazy) image.setAttribute("loading", "lazy");
    image.addEventListener("error", () => image.replaceWith(
      element("span", {}, "the thumbnail is missing")));
    image.src = source;
    return image;
  };

  const card = (item, at) => {
    const text = element("span", { class: "text" },
      element("span", { class: "name" }, item.patient || "no PatientID"),
      element("span", {}, [item.modality, item.description].filter(Boolean).join(" · ")),
      element("span", { class: "mark" }, images(item)),
      element("span", { class: `mark ${level(item)}` }, mark(item)));
    const button = element("button", { type: "button", class: "card", tabindex: at ? -1 : 0 },
      element("span", { class: "picture" }, picture(item, true)), text);
    button.addEventListener("click", () => open(first + at));
    return element("li", {}, button);
  };

  const draw = () => {
    const page = shown.slice(first, first + PAGE);
    $("gallery").replaceChildren(...page.map(card));
    const range = shown.length > PAGE
      ? `${(first + 1).toLocaleString("en")} to ${(first + page.length).toLocaleString("en")} of ` : "";
    const whole = shown.length < series.length
      ? ` (of ${series.length.toLocaleString("en")})` : "";
    $("count").textContent = `${range}${shown.length.toLocaleString("en")} series${whole}`;
    for (const name of ["previous", "previous-below"]) $(name).disabled = first === 0;
    for (const name of ["next", "next-below"]) $(name).disabled = first + PAGE >= shown.length;
  };

  const STATES = {
    unverified: (item) => item.check.startsWith("count"),
    damaged: (item) => item.state !== "complete",
    findings: (item) => item.problems.length > 0,
    undecoded: (item) => item.reason !== "",
  };
  const FILTERS = ["query", "collection", "patient", "modality", "kind", "state"];

  let waiting = 0;
  const filter = () => {
    clearTimeout(waiting);
    waiting = 0;
    const words = $("query").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [owner, patient, modality, kind, state] = FILTERS.slice(1).map((id) => $(id).value);
    const part = patient.trim().toLowerCase();
    shown = series.filter((item) =>
      (owner === "" || item.collection === Number(owner))
      && (part === "" || item.patient.toLowerCase().includes(part))
      && (modality === "" || item.modality === modality)
      && (kind === "" || item.kind === kind)
      && (state === "" || STATES[state](item))
      && words.every((word) => item.text.includes(word)));
    first = 0;
    const values = FILTERS.filter((id) => $(id).value !== "").map((id) => [id, $(id).value]);
    history.replaceState(null, "", `#${new URLSearchParams(values)}`);
    draw();
  };

  const turn = (by) => {
    const target = first + by * PAGE;
    if (target < 0 || target >= shown.length) return false;
    first = target;
    draw();
    return true;
  };

  const open = (at) => {
    if (at < 0 || at >= shown.length) return;
    opened = at;
    const item = shown[at];
    $("detail-head").textContent =
      [item.patient, item.modality, item.description].filter(Boolean).join(" · ");
    $("detail-picture").replaceChildren(picture(item, false));
    const findings = item.problems.map(([detail, prevents]) =>
      element("li", { class: prevents ? "warn" : "plain" }, detail));
    findings.unshift(element("li", { class: level(item) || "plain" }, mark(item)));
    if (item.reason) findings.push(element("li", { class: "warn" }, item.reason));
    $("detail-findings").replaceChildren(...findings);
    const path = `${item.owner}/${item.folder}`;
    const facts = [["Collection", item.owner], ["Patient", item.patient],
      ["Study", [item.studyDate, item.studyDescription].filter(Boolean).join(", ")],
      ["Series number", item.number], ["Body part", item.bodyPart], ["Scanner", item.scanner],
      ["Images", `${images(item)}, ${item.size}`], ["Pixels", item.facts],
      ["Verified by", item.check], ["StudyInstanceUID", item.study],
      ["SeriesInstanceUID", item.uid], ["Path", path]];
    $("detail-facts").replaceChildren(...facts.filter(([, value]) => value !== "").flatMap(
      ([name, value]) => [element("dt", {}, name),
        element("dd", /UID|Path/.test(name) ? { class: "uid" } : {}, String(value))]));
    const folder = item.folder.split("/").map(encodeURIComponent).join("/");
    const links = [element("a", { href: `${data.folders[item.collection]}/${folder}/` },
      "Open the folder")];
    if (item.viewer) links.push(element("a",
      { href: `${data.viewer}?${new URLSearchParams({
        StudyInstanceUIDs: item.study, SeriesInstanceUIDs: item.uid })}`, target: "_blank", rel: "noopener noreferrer" },
      "Open in IDC’s viewer (online)"));
    $("detail-links").replaceChildren(...links);
    $("detail-previous").disabled = at === 0;
    $("detail-next").disabled = at === shown.length - 1;
    if (!$("detail").open) $("detail").showModal();
  };

  const cards = () => [...$("gallery").querySelectorAll(".card")];
  const focus = (buttons, at) => {
    for (const button of buttons) button.tabIndex = -1;
    buttons[at].tabIndex = 0;
    buttons[at].focus();
  };
  const move = (event) => {
    const buttons = cards(), at = buttons.indexOf(document.activeElement);
    if (at < 0) return;
    const columns = getComputedStyle($("gallery")).gridTemplateColumns.split(" ").length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns,
      Home: -at, End: buttons.length - 1 - at };
    if (event.key in steps) {
      event.preventDefault();
      const target = at + steps[event.key];
      if (target >= 0 && target < buttons.length) return focus(buttons, target);
      if (/Right|Down/.test(event.key) && turn(1)) focus(cards(), 0);
      if (/Left|Up/.test(event.key) && turn(-1)) focus(cards(), cards().length - 1);
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      event.preventDefault();
      if (turn(event.key === "PageDown" ? 1 : -1)) focus(cards(), 0);
    }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ($("detail").open) {
      if (event.key === "ArrowRight") open(opened + 1);
      if (event.key === "ArrowLeft") open(opened - 1);
      return;
    }
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      $("query").focus();
      $("query").select();
    } else if (!typing) move(event);
    else if (event.key === "ArrowDown" && event.target === $("query")) {
      event.preventDefault();
      if (waiting) filter();
      if (cards().length) focus(cards(), 0);
    }
  });
  $("detail-close").addEventListener("click", () => $("detail").close());
  $("detail").addEventListener("click", (event) => {
    if (event.target === $("detail")) $("detail").close();
  });
  $("detail").addEventListener("close", () => {
    const page = Math.floor(opened / PAGE) * PAGE;
    if (page !== first) { first = page; draw(); }
    focus(cards(), opened - first);
  });
  $("detail-previous").addEventListener("click", () => open(opened - 1));
  $("detail-next").addEventListener("click", () => open(opened + 1));
  for (const [name, by] of [["previous", -1], ["previous-below", -1], ["next", 1], ["next-below", 1]]) {
    $(name).addEventListener("click", () => {
      if (turn(by) && name.endsWith("below")) $("count").scrollIntoView({ block: "center" });
    });
  }
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(filter));
  $("filters").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 80);
  });

  const tally = (key) => {
    const counted = new Map();
    for (const item of series) counted.set(item[key], (counted.get(item[key]) || 0) + 1);
    return [...counted].sort((a, b) => b[1] - a[1]);
  };
  const option = (value, text) => element("option", { value }, text);
  $("collection").append(...tally("collection").map(([at, number]) =>
    option(at, `${data.collections[at]} (${number.toLocaleString("en")})`)));
  for (const key of ["modality", "kind"]) {
    $(key).append(...tally(key).filter(([value]) => value !== "").map(([value, number]) =>
      option(value, `${value} (${number.toLocaleString("en")})`)));
  }
  $("patients").append(...tally("patient").map(([value]) => option(value, "")));
  for (const [id, value] of new URLSearchParams(location.hash.slice(1))) {
    if (FILTERS.includes(id)) $(id).value = value;
  }
  if (FILTERS.some((id) => $(id).value !== "")) filter(); else draw();
})();
