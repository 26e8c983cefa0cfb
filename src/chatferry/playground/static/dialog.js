// A dialog of Slack's, over the phone of whom it was opened for.
import { fill, h, icon } from "./dom.js";
import { store } from "./store.js";
import { t } from "./words.js";

const SEVERAL = ["checkboxes", "multi_static_select", "multi_users_select"];
const PEOPLE = ["users_select", "multi_users_select"];
const TYPES = {
  datepicker: "date",
  timepicker: "time",
  email_text_input: "email",
  url_text_input: "url",
  number_input: "number",
};

/** Shows the dialog that is open for the person of this phone, or none. */
export function dialog(phone) {
  const fact = store.get("dialog", `slack/${phone.who}`) ?? null;
  if (phone.dialog === fact) return;
  const old = phone.sheet;
  const same = old && phone.dialog?.view.id === fact?.view.id;
  phone.dialog = fact;
  if (same && fact.view.hash === old.dataset.hash) {
    complain(old, fact.errors ?? {});
    return;
  }
  old?.remove();
  phone.sheet = fact ? sheet(phone, fact) : null;
  if (!fact) {
    if (old && (old.contains(document.activeElement) || document.activeElement === document.body))
      phone.composer.text.focus({ preventScroll: true });
    return;
  }
  phone.element.append(phone.sheet);
  (
    phone.sheet.querySelector("input, textarea, select") ??
    phone.sheet.querySelector("[type=submit]") ??
    phone.sheet.querySelector("button")
  )?.focus();
}

function sheet(phone, { view, errors }) {
  const close = () => phone.act("dismiss", { who: phone.who });
  const submit = (event) => {
    event.preventDefault();
    const values = Object.fromEntries(
      [...form.querySelectorAll("[data-block]")].map((one) => [one.dataset.block, entered(one)]),
    );
    phone.act("submit", { who: phone.who, values });
  };
  const form = h(
    "form",
    { onsubmit: submit },
    h(
      "header",
      {},
      h("button", { type: "button", class: "plain", "aria-label": t("cancel"), onclick: close }, icon("close", 20)),
      h("h3", { id: "dialog-title" }, text(view.title) || view.callback_id),
    ),
    h("div", { class: "blocks" }, (view.blocks ?? []).map(block)),
    h(
      "footer",
      {},
      h("button", { type: "button", class: "button", onclick: close }, text(view.close) || t("cancel")),
      view.submit ? h("button", { type: "submit", class: "button primary" }, text(view.submit)) : null,
    ),
  );
  const made = h(
    "div",
    {
      class: "sheet",
      role: "dialog",
      "aria-modal": "true",
      "aria-labelledby": "dialog-title",
      dataset: { hash: view.hash ?? "" },
    },
    form,
  );
  made.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Tab") keepInside(made, event);
  });
  complain(made, errors ?? {});
  return made;
}

function block(one, at) {
  if (one.type === "header") return h("h4", {}, text(one.text));
  if (one.type === "divider") return h("hr");
  if (one.type === "context") return h("p", { class: "quiet" }, (one.elements ?? []).map(text).join(" "));
  if (one.type === "input" && one.element) return input(one, at);
  return h("p", {}, text(one.text));
}

function input(one, at) {
  const { element } = one;
  const name = one.block_id ?? element.action_id ?? `block-${at}`;
  const several = SEVERAL.includes(element.type);
  const field = several ? boxes(element, name) : single(element, name, !one.optional);
  return h(
    several ? "fieldset" : "label",
    {},
    h(several ? "legend" : "span", {}, text(one.label)),
    field,
    one.hint ? h("small", {}, text(one.hint)) : null,
    h("small", { class: "error", role: "alert" }),
  );
}

function choices(element) {
  if (PEOPLE.includes(element.type)) {
    return store.get("setup", "setup").people.map((name) => ({ value: name, text: { text: name } }));
  }
  return element.options ?? (element.option_groups ?? []).flatMap((group) => group.options ?? []);
}

function single(element, name, required) {
  const options = choices(element);
  const hint = text(element.placeholder);
  const props = { dataset: { block: name }, placeholder: hint || null, required };
  const type = TYPES[element.type] ?? "text";
  const field = options.length
    ? h(
        "select",
        props,
        h("option", { value: "" }, hint),
        options.map((option) => h("option", { value: option.value }, text(option.text))),
      )
    : element.multiline
      ? h("textarea", { ...props, rows: "4" })
      : h("input", { ...props, type, step: type === "number" && element.is_decimal_allowed ? "any" : null });
  field.value =
    element.initial_value ?? element.initial_option?.value ?? element.initial_date ?? element.initial_time ?? "";
  return field;
}

/** Of which any number can be chosen. */
function boxes(element, name) {
  const chosen = (element.initial_options ?? []).map((option) => option.value);
  return h(
    "div",
    { class: "boxes", dataset: { block: name, several: "" } },
    choices(element).map((option) =>
      h(
        "label",
        {},
        h("input", { type: "checkbox", value: option.value, checked: chosen.includes(option.value) }),
        text(option.text),
      ),
    ),
  );
}

function entered(field) {
  if (field.dataset.several === undefined) return field.value || null;
  return [...field.querySelectorAll(":checked")].map((box) => box.value);
}

function text(object) {
  return object?.text ?? "";
}

function complain(made, errors) {
  for (const field of made.querySelectorAll("[data-block]")) {
    const wrong = errors[field.dataset.block] ?? "";
    fill(field.parentElement.querySelector(".error"), wrong);
    field.setAttribute("aria-invalid", String(Boolean(wrong)));
  }
  const first = made.querySelector("[aria-invalid=true]");
  first?.parentElement.scrollIntoView({ block: "nearest" });
  (first?.matches("div") ? first.querySelector("input") : first)?.focus({ preventScroll: true });
}

function keepInside(made, event) {
  const all = [...made.querySelectorAll("button, input, textarea, select")];
  const edge = event.shiftKey ? all[0] : all.at(-1);
  if (document.activeElement !== edge) return;
  event.preventDefault();
  (event.shiftKey ? all.at(-1) : all[0]).focus();
}
