// What can go wrong, in words: what it is in production, and what Chatferry does about it.
import { t } from "./words.js";

const switched = (name, label, about) => ({ type: "switch", name, label, about });

const API = {
  type: "choice",
  name: "api",
  label: t("sky_api"),
  options: [
    ["", t("sky_fine"), ""],
    ["429", "429", t("sky_api_429")],
    ["500", "500", t("sky_api_500")],
    ["timeout", t("sky_timeout"), t("sky_api_timeout")],
    ["lost", t("sky_lost"), t("sky_api_lost")],
  ],
};
const DUPLICATE = switched("duplicate", t("sky_duplicate"), t("sky_duplicate_about"));
const DISORDER = switched("disorder", t("sky_disorder"), t("sky_disorder_about"));

/** By platform: what it has, and in what order. */
export const SKIES = {
  model: [
    { type: "range", name: "first", label: t("sky_first"), about: t("sky_first_about"), max: 60, step: 1, unit: "first" },
    { type: "range", name: "rate", label: t("sky_rate"), about: t("sky_rate_about"), max: 60, step: 1, unit: "rate" },
    {
      type: "choice",
      name: "fault",
      label: t("sky_model"),
      options: [
        ["", t("sky_fine"), ""],
        ["429", "429", t("sky_model_429")],
        ["500", "500", t("sky_model_500")],
        ["cut", t("sky_cut"), t("sky_cut_about")],
        ["hang", t("sky_hang"), t("sky_hang_about")],
      ],
    },
  ],
  line: [
    API,
    DUPLICATE,
    DISORDER,
    { ...switched("late", t("sky_late"), t("sky_late_about")), on: 45, off: 0 },
    switched("expired", t("sky_expired"), t("sky_expired_about")),
    { ...switched("quota", t("sky_quota"), t("sky_quota_about")), act: "quota" },
    { ...switched("redelivery", t("sky_redelivery"), t("sky_redelivery_about")), calm: true },
  ],
  wechat: [
    API,
    DUPLICATE,
    DISORDER,
    switched("used_up", t("sky_used_up"), t("sky_used_up_about")),
    { ...switched("verified", t("sky_verified"), t("sky_verified_about")), act: "verified" },
  ],
  slack: [API, DUPLICATE, DISORDER],
};

/** What a value of a slider means. */
export function told(unit, value) {
  if (unit === "first") return value ? t("seconds", { number: value }) : t("sky_at_once");
  return value ? t("sky_per_second", { number: value }) : t("sky_as_it_comes");
}

/** What a field is in good weather. */
export function calm(one) {
  if (one.calm !== undefined) return one.calm;
  return { range: 0, choice: "", switch: one.off ?? false }[one.type];
}
