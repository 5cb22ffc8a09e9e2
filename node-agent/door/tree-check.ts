/** A tree against its rules, and against the tree that this agent would have made (pure). */
import type { Element } from "../domain/element.ts";
import type { Place, Rule } from "./domain-rules.ts";
import { elementsOf, textOf } from "./xml-tree.ts";

/** What was offered is not what was meant; the message says where. */
export class Unintended extends Error {
  override name = "Unintended";
}

/** Every value by the path of its element or attribute, and how often each element occurs. */
export type Index = { values: ReadonlyMap<string, string[]>; counts: ReadonlyMap<string, number> };

export function indexOf(root: Element | undefined): Index {
  const values = new Map<string, string[]>();
  const counts = new Map<string, number>();
  const enter = (path: string, value: string) => values.set(path, [...(values.get(path) ?? []), value]);
  const walk = (element: Element, path: string) => {
    counts.set(path, (counts.get(path) ?? 0) + 1);
    for (const [key, value] of Object.entries(element.attributes)) enter(`${path}@${key}`, value);
    if (textOf(element) !== "") enter(path, textOf(element));
    for (const child of elementsOf(element)) walk(child, `${path}/${child.name}`);
  };
  if (root) walk(root, root.name);
  return { values, counts };
}

/** The tree as it may be passed on. Throws Unintended. */
export function checkTree(offered: Element, { rule, intended, path = offered.name }: { rule: Rule; intended: Index; path?: string }): Element {
  const seen = new Map<string, number>();
  const at = (place: string) => intended.values.get(place) ?? [];
  const placeOf = (place: string): Place => ({ values: at(place), at });

  const walk = (element: Element, { attributes = {}, text, children = {}, extra = 0 }: Rule, here: string): Element => {
    const count = (seen.get(here) ?? 0) + 1;
    seen.set(here, count);
    if (count > (intended.counts.get(here) ?? 0) + extra) throw new Unintended(`${here} is one too many`);
    const kept: Record<string, string> = {};
    for (const [key, value] of Object.entries(element.attributes)) {
      const check = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
      if (check === undefined) throw new Unintended(`${here} may have no ${key}`);
      if (check === "drop") continue;
      if (!check(value, placeOf(`${here}@${key}`))) throw new Unintended(`${here} has another ${key}: ${shown(value)}`);
      kept[key] = value;
    }
    const own = textOf(element);
    if (own !== "" && !text?.(own, placeOf(here))) throw new Unintended(`${here} has another content: ${shown(own)}`);
    if (own !== "") return { name: element.name, attributes: kept, children: [own] };
    return { name: element.name, attributes: kept, children: elementsOf(element).flatMap((child) => walkChild(child, children, here)) };
  };
  const walkChild = (child: Element, rules: Record<string, Rule>, parent: string): Element[] => {
    const here = `${parent}/${child.name}`;
    const rule = Object.hasOwn(rules, child.name) ? rules[child.name] : undefined;
    if (rule === undefined) throw new Unintended(`${here} may not be there`);
    const checked = walk(child, rule, here);
    return rule.drop ? [] : [checked];
  };
  return walk(offered, rule, path);
}

const SHOWN_LENGTH = 120;
const shown = (value: string): string => JSON.stringify(value.slice(0, SHOWN_LENGTH));
