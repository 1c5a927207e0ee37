// What the page asks the node to do.

import { t } from "./words.js";
import { toast } from "./drawing.js";

export async function call(name, fields, done) {
  try {
    const answer = await fetch(name, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields), credentials: "same-origin" });
    const result = await answer.json();
    if (!answer.ok) { toast(t("failed", result.message ?? answer.status)); return null; }
    if (done) toast(done);
    return result;
  } catch (error) {
    toast(t("lost"));
    return null;
  }
}

export async function pin(target) {
  const result = await call("pin", { target });
  if (result) toast(result.is_done ? t("pinDone") : t("pinStarted"));
  return Boolean(result);
}

export async function unpin(one) {
  for (const each of one.pins) if (!(await call("unpin", { target: each.target, name: each.name }))) return;
  toast(t("unpinDone"));
}
