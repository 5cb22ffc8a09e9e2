/**
 * XML read into the tree that the agent writes its own XML from (pure). What is read here is written out anew before
 * anybody else sees it, so a text that two parsers would read differently is of no use to whoever made it.
 */
import { XMLParser, XMLValidator } from "fast-xml-parser";
import type { Element } from "../domain/element.ts";

export class BadXml extends Error {
  override name = "BadXml";
}

const ATTRIBUTES = ":@";
const TEXT = "#text";
const DEPTH_MAX = 32;

const parser = new XMLParser({
  preserveOrder: true,
  jPath: false,
  ignoreAttributes: false,
  attributeNamePrefix: "",
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
});

type Parsed = Record<string, unknown>;

export function parseXml(text: string): Element {
  // Neither comments, declarations nor marked sections: libvirt writes none of them.
  if (/<[!?]/.test(text)) throw new BadXml("It has more than elements in it");
  if (XMLValidator.validate(text) !== true) throw new BadXml("It is not well-formed");
  const roots = (parser.parse(text) as Parsed[]).filter((node) => !isBlank(node));
  const [root] = roots;
  if (root === undefined || roots.length > 1 || TEXT in root) throw new BadXml("It has not one root element");
  return elementOf(root, 1);
}

function elementOf(node: Parsed, depth: number): Element {
  if (depth > DEPTH_MAX) throw new BadXml("It is nested too deeply");
  const name = Object.keys(node).find((key) => key !== ATTRIBUTES)!;
  const all = node[name] as Parsed[];
  const elements = all.filter((child) => !(TEXT in child));
  const text = all.filter((child) => TEXT in child).map((child) => String(child[TEXT])).join("");
  if (elements.length > 0 && text.trim() !== "") throw new BadXml(`"${name}" has both text and elements in it`);
  const children = elements.length > 0 ? elements.map((child) => elementOf(child, depth + 1)) : text.trim() === "" ? [] : [text];
  return { name, attributes: { ...(node[ATTRIBUTES] as Record<string, string> | undefined) }, children };
}

const isBlank = (node: Parsed): boolean => TEXT in node && String(node[TEXT]).trim() === "";

export const elementsOf = ({ children }: Element): Element[] => children.filter((child) => typeof child !== "string");
export const textOf = ({ children }: Element): string => children.filter((child) => typeof child === "string").join("");
export const childOf = (element: Element | undefined, name: string): Element | undefined =>
  element === undefined ? undefined : elementsOf(element).find((child) => child.name === name);
