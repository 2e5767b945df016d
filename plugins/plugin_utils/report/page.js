// Draws what is in #data (page_data() in _report_page.py). All text goes in by textContent, so none of it is ever markup.
"use strict";
{
  const { network, nodes, views, words, services } = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
  const time = (ms) => ms.toFixed(ms < 1 ? 3 : ms < 10 ? 2 : 1);
  const fault = (cell) => (cell !== null && cell < 0 ? words[-1 - cell] : "");

  const put = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const html = (tag, attributes = {}, ...children) => put(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => put(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  // --- what is wrong with a node: its own state, its problems, its drift, and paths to nodes that have no error of their own -----------
  const listed = [...document.querySelectorAll(".problems > li")];
  const bad = nodes.map((node) => node.state !== "verified" || node.problems.some((number) => listed[number].className === "error"));
  const severities = nodes.map((node, index) => {
    const drifted = node.drift && (node.drift.commands.length || node.drift.refused);
    const lost = views.some((view) => view.rows[index].some((cell, to) => fault(cell) && !bad[to]));
    return bad[index] ? "error" : node.problems.length || drifted || lost ? "warning" : "good";
  });
  const MARKS = { error: "\u2715", warning: "\u25B2", good: "\u2713" };

  // --- colours as the style sheet has them at this moment; the canvas cannot read light-dark() -----------------------------------
  const sample = html("span", { hidden: "" });
  document.body.append(sample);
  const colour = (name) => {
    sample.style.color = `var(--${name})`;
    return getComputedStyle(sample).color;
  };
  const channels = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);

  // --- the heat map ---------------------------------------------------------------------------------------------------------------
  const heat = find("heat");
  const frame = find("mesh-frame");
  const at = { view: 0, row: 0, column: nodes.length > 1 ? 1 : 0 };
  let shape = null;

  const measure = () => {
    const pen = heat.getContext("2d");
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const longest = Math.ceil(Math.max(...nodes.map((node) => pen.measureText(node.name).width)));
    const available = frame.clientWidth - 24;
    const names = Math.min(longest, 180) + 10;
    const fitting = (margin) => Math.floor((available - margin) / nodes.length);
    const labelled = fitting(names) >= 14;
    const margin = labelled ? names : 14;
    const width = Math.max(3, Math.min(132, fitting(margin)));
    const slanted = labelled && longest + 8 > width;
    return { margin, width, height: Math.min(width, 40), top: labelled ? (slanted ? names : 22) : 14, labelled, slanted };
  };

  // The least and the greatest median of all kinds of paths, so that a colour means the same in each of them.
  const bounds = views.flatMap((view) => view.rows.flat()).filter((cell) => cell > 0).reduce(
    ([low, high], cell) => [Math.min(low, cell), Math.max(high, cell)], [Infinity, 0]);
  const part = (cell) => (bounds[1] > bounds[0] ? Math.log(Math.max(cell, bounds[0]) / bounds[0]) / Math.log(bounds[1] / bounds[0]) : 0);

  const draw = () => {
    if (!views.length) return;
    shape = measure();
    const { margin, width, height, top } = shape;
    const rows = views[at.view].rows;
    const scale = window.devicePixelRatio || 1;
    const size = [margin + width * nodes.length + 4, top + height * nodes.length + 4];
    [heat.width, heat.height] = size.map((length) => Math.round(length * scale));
    [heat.style.width, heat.style.height] = size.map((length) => `${length}px`);
    const pen = heat.getContext("2d");
    pen.scale(scale, scale);
    const [low, high] = ["low", "high"].map((name) => channels(colour(name)));
    const paint = { fault: colour("fault"), mark: colour("on-fault"), line: colour("line"), ink: colour("ink"), page: colour("page") };
    const gap = width > 10 ? 1 : 0;
    const faults = [];
    rows.forEach((row, y) => row.forEach((cell, x) => {
      const [left, upper] = [margin + x * width, top + y * height];
      if (cell === null) {
        pen.fillStyle = paint.line;
        if (x !== y && width > 5) pen.fillRect(left + width / 2 - 1, upper + height / 2 - 1, 2, 2);
      } else if (cell < 0) faults.push([x, y, left, upper]);
      else {
        const share = part(cell);
        const mixed = low.map((start, index) => Math.round(start + (high[index] - start) * share));
        pen.fillStyle = `rgb(${mixed})`;
        pen.fillRect(left, upper, width - gap, height - gap);
        if (width >= 44) value(pen, time(cell), left + width / 2, upper + height / 2, mixed);
      }
    }));
    for (const each of faults) drawFault(pen, paint, ...each);
    label(pen, paint, new Set(faults.map(([x]) => x)), new Set(faults.map(([, y]) => y)));
    pen.strokeStyle = paint.page;
    pen.lineWidth = 4;
    pen.strokeRect(margin + at.column * width - 1, top + at.row * height - 1, width + 1, height + 1);
    pen.strokeStyle = paint.ink;
    pen.lineWidth = 2;
    pen.strokeRect(margin + at.column * width - 1, top + at.row * height - 1, width + 1, height + 1);
  };

  const value = (pen, text, x, y, back) => {
    const bright = (0.299 * back[0] + 0.587 * back[1] + 0.114 * back[2]) > 140;
    pen.fillStyle = bright ? "#101418" : "#ffffff";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(text, x, y);
  };

  // A cross, as large as there is room for; where cells are only some pixels, a larger block and marks at both edges instead.
  const drawFault = (pen, paint, x, y, left, upper) => {
    const { width, height } = shape;
    const grown = width < 6 ? 1 : 0;
    pen.fillStyle = paint.fault;
    pen.fillRect(left - grown, upper - grown, width - (width > 10) + 2 * grown, height - (width > 10) + 2 * grown);
    if (width < 6) return;
    const [middle, centre, arm] = [left + (width - 1) / 2, upper + (height - 1) / 2, Math.min(width, height) / 4.5];
    pen.strokeStyle = paint.mark;
    pen.lineWidth = width > 16 ? 2 : 1;
    pen.beginPath();
    for (const side of [-1, 1]) {
      pen.moveTo(middle - arm, centre - side * arm);
      pen.lineTo(middle + arm, centre + side * arm);
    }
    pen.stroke();
  };

  const label = (pen, paint, columns, rows) => {
    const { margin, width, height, top, labelled, slanted } = shape;
    pen.textBaseline = "middle";
    nodes.forEach((node, index) => {
      const [x, y] = [margin + (index + 0.5) * width, top + (index + 0.5) * height];
      if (!labelled) {
        pen.fillStyle = paint.fault;
        if (columns.has(index)) pen.fillRect(x - 2, 0, 4, 10);
        if (rows.has(index)) pen.fillRect(0, y - 2, 10, 4);
        return;
      }
      pen.fillStyle = paint.ink;
      pen.textAlign = "right";
      pen.fillText(node.name, margin - 8, y, margin - 10);
      pen.save();
      pen.translate(x, top - 8);
      pen.rotate(slanted ? -Math.PI / 2 : 0);
      pen.textAlign = slanted ? "left" : "center";
      pen.fillText(node.name, 0, 0, slanted ? top - 10 : width);
      pen.restore();
    });
  };

  const told = (view, row, column) => {
    const cell = views[view].rows[row][column];
    if (row === column) return "itself";
    return cell === null ? "not tested" : fault(cell) || `${time(cell)} ms`;
  };

  const say = () => {
    const first = [at.view, ...views.keys()].filter((view, place, all) => all.indexOf(view) === place);
    const shown = first.filter((view) => view === at.view || views[view].rows[at.row][at.column] !== null);
    find("readout").replaceChildren(html("b", {}, `${nodes[at.row].name} to ${nodes[at.column].name}`), ...shown.map((view) =>
      html("span", fault(views[view].rows[at.row][at.column]) ? { class: "bad" } : {}, `${views[view].title}: ${told(view, at.row, at.column)}`)));
  };

  const go = (row, column, reveal) => {
    at.row = Math.max(0, Math.min(nodes.length - 1, row));
    at.column = Math.max(0, Math.min(nodes.length - 1, column));
    draw();
    say();
    if (!reveal) return;
    const { margin, width, height, top } = shape;
    const [x, y] = [margin + at.column * width, top + at.row * height];
    frame.scrollLeft = Math.min(Math.max(frame.scrollLeft, x + width + 24 - frame.clientWidth), x);
    frame.scrollTop = Math.min(Math.max(frame.scrollTop, y + height + 24 - frame.clientHeight), y);
  };

  const nextFault = () => {
    const flat = views[at.view].rows.flat();
    const here = at.row * nodes.length + at.column;
    const after = [...flat.keys()].map((step) => (here + 1 + step) % flat.length);
    const hit = after.find((index) => flat[index] !== null && flat[index] < 0);
    if (hit !== undefined) go(Math.floor(hit / nodes.length), hit % nodes.length, true);
  };

  heat.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(nodes.length / 10));
    const steps = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      Home: [0, -nodes.length], End: [0, nodes.length], PageUp: [-page, 0], PageDown: [page, 0],
    };
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (steps[event.key]) go(at.row + steps[event.key][0], at.column + steps[event.key][1], true);
    else if (event.key.toLowerCase() === "f") nextFault();
    else if (event.key === "Enter") open(at.row);
    else return;
    event.preventDefault();
  });
  const pointed = (event) => {
    const box = heat.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - shape.margin) / shape.width);
    const row = Math.floor((event.clientY - box.top - shape.top) / shape.height);
    if (row >= 0 && column >= 0 && row < nodes.length && column < nodes.length && (row !== at.row || column !== at.column)) go(row, column, false);
  };
  let waiting = false;
  heat.addEventListener("pointermove", (event) => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; pointed(event); });
  });
  heat.addEventListener("click", pointed);

  const legend = () => {
    const sign = (name, text) => html("span", {}, text, swatch(name));
    const swatch = (name) => svg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" },
      svg("rect", { width: 14, height: 14, fill: `var(--${name})` }),
      name === "fault" ? svg("path", { d: "M4 4l6 6M10 4l-6 6", stroke: "var(--on-fault)", "stroke-width": 1.75 }) : svg("g"));
    const ramp = bounds[1] ? html("span", {}, `${time(bounds[0])} ms`, html("i", { class: "ramp" }), `${time(bounds[1])} ms`) : "";
    const blank = svg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("rect", { x: 5, y: 5, width: 4, height: 4, fill: "var(--soft)" }));
    find("legend").replaceChildren(ramp, sign("fault", "wrong"), html("span", {}, "not tested", blank));
  };

  const tabulate = () => {
    const row = Number(find("from").value);
    const head = html("tr", {}, html("th", { scope: "col" }, "to"), ...views.map((view) => html("th", { scope: "col" }, view.title)));
    const lines = nodes.map((node, column) => html("tr", {}, html("th", { scope: "row" }, node.name), ...views.map((view, index) =>
      html("td", fault(view.rows[row][column]) ? { class: "bad" } : {}, told(index, row, column)))));
    find("row-table").replaceChildren(html("caption", {}, `From ${nodes[row].name}`), html("thead", {}, head), html("tbody", {}, ...lines));
  };

  // --- the topology: boxes on the underlay where there is room to read them, else tiles ---------------------------------------------
  const short = (text, letters) => (text.length > letters ? `${text.slice(0, letters - 1)}\u2026` : text);
  const words_of = (node) => `${node.name}: ${node.state}; pods ${node.subnets.join(", ")}; underlay ${node.underlay.join(", ")}`;

  const linked = (node, index, ...shapes) => svg("a", { href: `#node-${node.name}`, tabindex: -1, class: `${severities[index]}${node.state === "verified" ? "" : " gone"}` },
    svg("title", {}, words_of(node)), ...shapes);

  const boxed = (width) => {
    const [wide, tall, gap] = [196, 158, 20];
    const columns = Math.max(1, Math.min(nodes.length, Math.floor((width + gap) / (wide + gap))));
    const lines = Math.ceil(nodes.length / columns);
    const step = tall + 84;
    const left = Math.max(0, (width - columns * (wide + gap) + gap) / 2);
    const place = (index) => [left + (index % columns) * (wide + gap), 34 + Math.floor(index / columns) * step];
    const picture = svg("g");
    for (let line = 0; line < lines; line++) {
      const y = 34 + line * step + tall + 30;
      const last = Math.min(columns, nodes.length - line * columns);
      picture.append(svg("line", { class: "bus", x1: left, x2: left + last * (wide + gap) - gap, y1: y, y2: y }));
      if (!line) picture.append(svg("text", { class: "soft", x: left, y: y + 20 }, short(`underlay, VXLAN ${network.vni} on UDP port ${network.port}`, Math.floor(width / 7))));
    }
    for (const [from, to] of failedPairs().slice(0, 24)) picture.append(arc(place(from), place(to), wide));
    nodes.forEach((node, index) => picture.append(nodeBox(node, index, ...place(index), wide, tall)));
    return [picture, 34 + lines * step - 20];
  };

  const nodeBox = (node, index, x, y, wide, tall) => {
    const text = (dx, dy, content, kind = "") => svg("text", { x: x + dx, y: y + dy, class: kind }, short(content, 25));
    const device = node.device;
    return linked(node, index,
      svg("line", { class: "wire", x1: x + wide / 2, x2: x + wide / 2, y1: y + tall, y2: y + tall + 30 }),
      svg("rect", { class: "box", x, y, width: wide, height: tall, rx: 8 }),
      svg("text", { class: "name", x: x + 14, y: y + 24 }, short(node.name, 20)),
      svg("text", { class: "mark", x: x + wide - 26, y: y + 24 }, MARKS[severities[index]]),
      svg("rect", { class: "inner", x: x + 8, y: y + 34, width: wide - 16, height: 42, rx: 5 }),
      text(16, 51, node.subnets[0] || "no pod subnet"),
      text(16, 68, node.bridge ? `${node.bridge.name} ${node.bridge.addresses[0] || ""}` : "no bridge", "soft"),
      svg("rect", { class: "inner", x: x + 8, y: y + 82, width: wide - 16, height: 42, rx: 5 }),
      text(16, 99, device ? `${device.name} ${device.addresses[0] || ""}` : "no VTEP"),
      text(16, 116, device ? device.mac : node.state, "soft"),
      text(16, 145, `${node.underlay[0] || "no underlay"} ${node.interface || ""}`));
  };

  // Those of nodes that could be asked: one that could not fails with everybody, and its own box says so.
  const failedPairs = () => {
    const asked = [...nodes.keys()].filter((index) => nodes[index].state === "verified");
    return asked.flatMap((from) => asked.filter((to) => views.some((view) => fault(view.rows[from][to]))).map((to) => [from, to]));
  };

  const arc = ([x1, y1], [x2, y2], wide) => {
    const shift = Math.sign(x2 - x1) * 14;
    const [start, end] = [x1 + wide / 2 + shift, x2 + wide / 2 - shift];
    const lift = y1 === y2 ? y1 - 30 : (y1 + y2) / 2 - 40;
    const path = svg("path", { class: "arc", d: `M${start} ${y1} Q${(start + end) / 2} ${lift} ${end} ${y2 - 6}` });
    return svg("g", {}, path, svg("path", { class: "tip", d: `M${end} ${y2}l-5 -9h10z` }));
  };

  const tiled = (width) => {
    const [tall, gap] = [44, 6];
    const columns = Math.max(1, Math.floor((width + gap) / (116 + gap)));
    const wide = (width - 2 + gap) / columns - gap;
    const picture = svg("g");
    nodes.forEach((node, index) => {
      const [x, y] = [1 + (index % columns) * (wide + gap), 1 + Math.floor(index / columns) * (tall + gap)];
      picture.append(linked(node, index,
        svg("rect", { class: "box", x, y, width: wide, height: tall, rx: 5 }),
        svg("text", { x: x + 8, y: y + 18 }, short(node.name, 13)),
        svg("text", { class: "mark", x: x + wide - 18, y: y + 18 }, MARKS[severities[index]]),
        svg("text", { class: "soft", x: x + 8, y: y + 35 }, short(node.subnets[0] || "no subnet", 16))));
    });
    return [picture, Math.ceil(nodes.length / columns) * (tall + gap)];
  };

  const sketch = () => {
    const width = Math.max(220, find("picture").clientWidth);
    const [picture, height] = (nodes.length > 24 ? tiled : boxed)(width);
    const wrong = severities.filter((severity) => severity !== "good").length;
    find("picture").replaceChildren(svg("svg", {
      viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": `${count(nodes.length, "node")} on the underlay, ${wrong} with something wrong. The cards below say the same in words.`,
    }, picture));
  };

  // --- cards --------------------------------------------------------------------------------------------------------------------------
  const list = (title, entries) => {
    const rows = entries.filter(([, value]) => value !== "" && value !== null && value !== undefined);
    return rows.length ? [html("section", {}, html("h4", {}, title), html("table", {}, ...rows.map(([name, value]) =>
      html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, String(value))))))] : [];
  };
  const fields = (title, value) => list(title, Object.entries(value || {}).map(([name, each]) => [name.replaceAll("_", " "), Array.isArray(each) ? each.join(", ") : each]));
  const lines = (title, texts) => (texts.length ? [html("section", {}, html("h4", {}, title), ...texts.map((text) => html("code", { tabindex: 0 }, text)))] : []);

  const peersOf = (node) => {
    const right = nodes.filter((other, index) => other !== node && other.identities.length && !node.lacking.includes(index));
    const found = node.state === "verified" ? [`${count(node.peers, "peer")} in its tables, ${right.length} as their own nodes have them`] : [];
    const parts = [html("h4", {}, "Peers"), ...found.map((text) => html("p", {}, text))];
    if (node.lacking.length) parts.push(html("p", {}, `Not as they should be: ${node.lacking.map((index) => nodes[index].name).join(", ")}`));
    const row = (name, subnets, underlay, mac) => html("tr", {}, ...[name, subnets.join(", "), underlay, mac].map((text) => html("td", {}, text || "none")));
    const table = [...node.others.map((peer) => row("of no node", peer.subnets, peer.underlay, peer.mac)),
      ...right.flatMap((other) => other.identities.map(([underlay, mac, ...subnets]) => row(other.name, subnets, underlay, mac)))];
    const head = html("tr", {}, ...["node", "subnets", "underlay", "MAC"].map((text) => html("th", { scope: "col" }, text)));
    if (table.length) parts.push(html("details", table.length > 12 ? {} : { open: "" }, html("summary", {}, "Table"), html("table", {}, head, ...table)));
    return html("section", {}, ...parts);
  };

  const driftOf = (node) => {
    if (!node.drift) return [html("section", {}, html("h4", {}, "Drift"), html("p", {}, "Not compared with a ledger."))];
    if (node.drift.refused) return [html("section", {}, html("h4", {}, "Drift"), html("p", {}, node.drift.refused))];
    return node.drift.commands.length ? lines("Drift: what would bring it in line", node.drift.commands)
      : [html("section", {}, html("h4", {}, "Drift"), html("p", {}, "None: the node is as the ledger has it."))];
  };

  const servicesOf = (node) => services.filter((path) => path.from === node.name).map((path) =>
    [`from its ${path.source}`, `${path.address}: ${path.fault || (path.rtt ? `${time(path.rtt[1])} ms` : "answers")}`]);

  const fill = (index) => {
    const node = nodes[index];
    const texts = node.problems.map((number) => listed[number].querySelector("p").textContent);
    const told_of = texts.length ? [html("section", {}, html("h4", {}, "Problems"), html("ul", {}, ...texts.map((text) => html("li", {}, text))))] : [];
    return html("div", { class: "body" }, ...told_of, ...driftOf(node), peersOf(node),
      ...fields("VTEP", node.device), ...fields("VTEP for IPv6", node.device6), ...fields("Lease in the ledger", node.lease),
      ...fields("subnet.env", node.subnet_env), ...fields("Bridge", node.bridge), ...fields("Pod of this test", node.pod),
      ...list("Addresses in use by pods", [["number", node.allocations.length]]), ...list("Services", servicesOf(node)),
      ...list("Tables of the kernel", node.limits.map((limit) => [limit.name, `${limit.used.toLocaleString("en")} of ${limit.limit.toLocaleString("en")}`])),
      ...fields("Counters", node.counters), ...fields("Settings", node.settings), ...fields("Last applied", node.applied),
      ...lines("Filters", node.filters));
  };

  const cards = nodes.map((node, index) => {
    const severity = severities[index];
    const words_for = { error: node.state === "verified" ? "error" : node.state, warning: "warning", good: "as it should be" };
    const drift = node.drift && node.drift.commands.length ? `; ${count(node.drift.commands.length, "command")} of drift` : "";
    const card = html("details", { class: "card", id: `node-${node.name}` }, html("summary", {},
      html("h3", {}, html("span", {}, node.name), html("span", { class: `badge ${severity}` }, `${MARKS[severity]} ${words_for[severity]}`)),
      html("p", {}, `${node.subnets.join(", ") || "no pod subnet"}; ${node.underlay.join(", ") || "no underlay address"}${drift}`),
      ...(node.reason ? [html("p", {}, node.reason)] : [])));
    card.addEventListener("toggle", () => { if (card.open && !card.querySelector(".body")) card.append(fill(index)); });
    return card;
  });
  const texts = nodes.map((node) => JSON.stringify([node.name, node.underlay, node.subnets, node.device, node.device6, node.lease, node.pod]).toLowerCase());

  const filter = () => {
    const wanted = find("search").value.trim().toLowerCase();
    cards.forEach((card, index) => { card.hidden = !texts[index].includes(wanted) || (find("wrong").checked && severities[index] === "good"); });
    find("found").textContent = `${cards.filter((card) => !card.hidden).length} of ${count(nodes.length, "node")}`;
  };

  const open = (index) => {
    find("search").value = "";
    find("wrong").checked = false;
    filter();
    cards[index].open = true;
    cards[index].scrollIntoView();
    cards[index].querySelector("summary").focus();
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#node-"]');
    const index = link ? nodes.findIndex((node) => link.getAttribute("href") === `#node-${node.name}`) : -1;
    if (index < 0) return;
    event.preventDefault();
    open(index);
  });

  // --- commands to copy -----------------------------------------------------------------------------------------------------------------
  for (const code of document.querySelectorAll(".repair code")) {
    const button = html("button", { type: "button" }, "Copy");
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(code);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = document.execCommand("copy") ? "Copied" : "Selected";  // a page that is not served has no clipboard everywhere
      }
    });
    code.after(button);
  }

  // --- all together ---------------------------------------------------------------------------------------------------------------------
  const redraw = () => { draw(); sketch(); };
  find("theme").parentElement.hidden = false;
  find("theme").addEventListener("change", (event) => {
    document.documentElement.dataset.theme = event.target.value;
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", redraw);
  addEventListener("afterprint", redraw);
  find("view").append(...views.map((view, index) => html("option", { value: index }, view.title)));
  find("view").addEventListener("change", (event) => { at.view = Number(event.target.value); draw(); say(); });
  find("from").append(...nodes.map((node, index) => html("option", { value: index }, node.name)));
  find("from").addEventListener("change", tabulate);
  find("row").addEventListener("toggle", () => {
    find("from").value = at.row;
    tabulate();
  });
  find("search").addEventListener("input", filter);
  find("wrong").addEventListener("change", filter);
  find("cards").append(...cards);
  find("wrong").checked = nodes.length > 24 && severities.some((severity) => severity !== "good");
  find("mesh").hidden = !views.length;
  find("topology").hidden = find("nodes").hidden = !nodes.length;
  filter();
  if (views.length) {
    legend();
    say();
  }
  if (nodes.length) {
    const seen = { width: 0 };
    new ResizeObserver(([entry]) => {
      if (entry.contentRect.width === seen.width) return;
      seen.width = entry.contentRect.width;
      redraw();
    }).observe(find("nodes"));
    redraw();
  }
}
