/** Objects in the format that was asked for. */
import type { Kind, Resource } from "./kinds/kind.ts";
import { namespaceColumn } from "./kinds/kind.ts";
import type { Format, Output } from "./output.ts";
import { Table, tableLines } from "./table.ts";
import { hasControl } from "./visible.ts";

export type PrintOptions = { now: Date; allNamespaces?: boolean };

/** "virtualmachine/web", as kubectl names things in its answers. */
export const objectName = ({ kind }: Pick<Kind, "kind">, name: string): string => `${kind.toLowerCase()}/${name}`;

export function columnsOf(kind: Kind, format: Format, allNamespaces: boolean): Kind["columns"] {
  const shown = kind.columns.filter(({ wide }) => format === "wide" || !wide);
  return allNamespaces && kind.namespaced ? [namespaceColumn, ...shown] : shown;
}

const cellsOf = (columns: Kind["columns"], object: Resource, now: Date) => columns.map((column) => column.cell(object, now));

/** The object as a manifest. The descriptors are loaded here, so that tables do not pay for them. */
async function manifestOf(kind: Kind, object: Resource): Promise<Record<string, unknown>> {
  const { renderManifest } = await import("../lib/manifest/render.ts");
  return renderManifest(kind.kind, kind.codec.encode(object).finish());
}

export async function printObject(out: Output, kind: Kind, object: Resource): Promise<void> {
  if (out.format === "json") return out.line(jsonText(await manifestOf(kind, object), 4));
  if (out.format === "yaml") return out.raw(await yamlText(await manifestOf(kind, object)));
  return out.line(objectName(kind, object.metadata?.name ?? ""));
}

/** What became of an object: by its name, in a sentence for people. */
export const printName = (out: Output, name: string, said: string): void => out.line(out.format === "name" ? name : `${name} ${said}`);

/** The object itself where data is asked for, else its name and what was done. */
export async function printDone(out: Output, { kind, object, said }: { kind: Kind; object: Resource; said: string }): Promise<void> {
  if (out.format === "json" || out.format === "yaml") return printObject(out, kind, object);
  return printName(out, objectName(kind, object.metadata?.name ?? ""), said);
}

/** What is no object: as data where that is asked for, else as lines. */
export async function printData(out: Output, data: unknown, lines: readonly string[]): Promise<void> {
  if (out.format === "json") return out.line(jsonText(data, 4));
  if (out.format === "yaml") return out.raw(await yamlText(data));
  return out.lines(lines);
}

/** One of many, on a line of its own, for programs that read while it goes on. */
export const printLine = async (out: Output, kind: Kind, object: Resource): Promise<void> => out.line(jsonText(await manifestOf(kind, object), 0));

export async function printObjects(out: Output, kind: Kind, objects: readonly Resource[], { now, allNamespaces = false }: PrintOptions): Promise<void> {
  if (out.format === "name") return out.lines(objects.map(({ metadata }) => objectName(kind, metadata?.name ?? "")));
  if (out.format === "json" || out.format === "yaml") {
    const items = await Promise.all(objects.map((object) => manifestOf(kind, object)));
    const list = { apiVersion: "drover.dev/v1", kind: "List", items };
    return out.format === "json" ? out.line(jsonText(list, 4)) : out.raw(await yamlText(list));
  }
  const columns = columnsOf(kind, out.format, allNamespaces);
  const titles = columns.map(({ title }) => title);
  return out.lines(tableLines(titles, objects.map((object) => cellsOf(columns, object, now))));
}

/** Prints what a watch tells, one change at a time. */
export class ChangePrinter {
  readonly #out: Output;
  readonly #kind: Kind;
  readonly #allNamespaces: boolean;
  #table: Table | undefined;

  constructor(out: Output, kind: Kind, allNamespaces: boolean) {
    this.#out = out;
    this.#kind = kind;
    this.#allNamespaces = allNamespaces;
  }

  async print(changes: readonly { type: string; object: Resource }[], now: Date): Promise<void> {
    if (this.#out.format === "table" || this.#out.format === "wide") return this.#rows(changes, now);
    for (const { type, object } of changes) await this.#one(type, object);
  }

  async #one(type: string, object: Resource): Promise<void> {
    if (this.#out.format === "name") return this.#out.line(objectName(this.#kind, object.metadata?.name ?? ""));
    const manifest = await manifestOf(this.#kind, object);
    if (this.#out.format === "json") return this.#out.line(jsonText({ type: type.toUpperCase(), object: manifest }, 0));
    return this.#out.raw(`---\n${await yamlText(manifest)}`);
  }

  #rows(changes: readonly { type: string; object: Resource }[], now: Date): void {
    const columns = columnsOf(this.#kind, this.#out.format, this.#allNamespaces);
    const first = !this.#table;
    this.#table ??= new Table(columns.map(({ title }) => title));
    const lines = this.#table.rows(changes.map(({ object }) => cellsOf(columns, object, now)));
    if (first) this.#out.line(this.#table.header());
    this.#out.lines(lines.map((line, index) => (changes[index]!.type === "deleted" ? `${line}   (deleted)` : line)));
  }
}

const ESCAPED_IN_TEXT = /[\u007F-\u009F\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;
const escapeUnicode = (text: string) =>
  text.replaceAll(ESCAPED_IN_TEXT, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** JSON escapes the C0 controls itself; the rest is escaped too, as the text may go to a terminal. */
export const jsonText = (value: unknown, indent: number): string => escapeUnicode(JSON.stringify(value, null, indent));

export async function yamlText(value: unknown): Promise<string> {
  const { Document, visit, Scalar } = await import("yaml");
  const document = new Document(value, { compat: "yaml-1.1" } as object);
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value !== "string" || !hasControl(node.value.replaceAll("\n", ""))) return;
      node.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return escapeUnicode(document.toString({ lineWidth: 0, aliasDuplicateObjects: false } as object));
}
