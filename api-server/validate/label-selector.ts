/** Kubernetes' label selectors: "app=web,tier!=test,zone in (a,b),!legacy". Pure. */
import { InvalidArgument } from "../../lib/errors.ts";
import { labelKey, labelValue } from "../kinds/names.ts";

export type LabelMatch = (labels: Record<string, string>) => boolean;

const SET = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUALITY = /^([^\s=!]+)\s*(==|=|!=)\s*(\S*)$/;
const EXISTENCE = /^(!?)\s*([^\s=!(),]+)$/;

/** Throws InvalidArgument that says what was expected. */
export function parseLabelSelector(text: string): LabelMatch {
  const terms = splitOutsideParentheses(text).map(parseTerm);
  return (labels) => terms.every((matches) => matches(labels));
}

function splitOutsideParentheses(text: string): string[] {
  if (text.trim() === "") return [];
  return text.split(/,(?![^()]*\))/).map((term) => term.trim());
}

function parseTerm(term: string): LabelMatch {
  const set = SET.exec(term);
  if (set) return parseSet(set);
  const equality = EQUALITY.exec(term);
  if (equality) {
    const [, key = "", operator, value = ""] = equality;
    check(key, [value]);
    return operator === "!=" ? (labels) => own(labels, key) !== value : (labels) => own(labels, key) === value;
  }
  const existence = EXISTENCE.exec(term);
  if (!existence) throw refused(`cannot read ${JSON.stringify(term)}: expected forms are "key", "!key", "key=value", "key!=value", "key in (a,b)" and "key notin (a,b)"`);
  const [, not, key = ""] = existence;
  check(key, []);
  return not ? (labels) => own(labels, key) === undefined : (labels) => own(labels, key) !== undefined;
}

function parseSet([, key = "", operator, list = ""]: RegExpExecArray): LabelMatch {
  const values = list.split(",").map((value) => value.trim());
  check(key, values);
  return (labels) => values.includes(own(labels, key) ?? NO_VALUE) === (operator === "in");
}

/** No label can hold it, so that an absent one is in no set. */
const NO_VALUE = "\0";

function own(labels: Record<string, string>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function check(key: string, values: string[]): void {
  const faults = [...labelKey("label_selector", key), ...values.flatMap((value) => labelValue("label_selector", value))];
  if (faults.length > 0) throw new InvalidArgument(faults);
}

const refused = (message: string) => new InvalidArgument([{ path: "label_selector", message }]);
