/**
 * YAML text as trees with positions. Bounded on every side, because the text may come from anywhere: size, number of
 * documents, nodes, nesting, and what aliases blow up to.
 */
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseAllDocuments } from "yaml";
import type { Document, Node, YAMLMap } from "yaml";
import { camelField } from "./names.ts";

export type Location = { file: string; line: number; column: number };
export type ManifestFault = Location & { path: string; message: string };

/** Every fault of a text at once; nothing of it was used. */
export class ManifestError extends Error {
  override name = "ManifestError";
  readonly faults: ManifestFault[];
  constructor(faults: ManifestFault[]) {
    const ordered = [...faults].sort((a, b) => a.line - b.line || a.column - b.column);
    super(ordered.map(faultLine).join("\n"));
    this.faults = ordered;
  }
}

export function faultLine({ file, line, column, path, message }: ManifestFault): string {
  return `${file}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`;
}

const TEXT_LENGTH_MAX = 1024 * 1024;
const DOCUMENTS_MAX = 1_000;
const NODES_MAX = 200_000;
/** The first ones explain the rest. */
const SYNTAX_FAULTS_MAX = 20;

/** One file's text: makes positions and collects faults. */
export class Source {
  readonly file: string;
  readonly faults: ManifestFault[] = [];
  readonly #lines = new LineCounter();
  #document: Document | undefined;
  #nodes = 0;

  constructor(file: string) {
    this.file = file;
  }

  /** Documents that hold something; faults of the syntax are noted. */
  documents(text: string): Document[] {
    if (text.length > TEXT_LENGTH_MAX) return this.#refuse(`must have at most ${TEXT_LENGTH_MAX} characters`);
    const documents = parseBounded(text, this.#lines);
    if (!documents) return this.#refuse("nests too deep");
    if (documents.length > DOCUMENTS_MAX) return this.#refuse(`must hold at most ${DOCUMENTS_MAX} documents`);
    for (const { errors } of documents) {
      for (const error of errors.slice(0, SYNTAX_FAULTS_MAX)) this.faults.push({ ...this.#at(error.pos[0]), path: "", message: error.message });
    }
    return documents.filter(({ errors, contents }) => errors.length === 0 && !(contents === null || (isScalar(contents) && contents.value === null)));
  }

  enter(document: Document): void {
    this.#document = document;
  }

  /** The node behind aliases. Counts what is visited, so that aliases of aliases end. */
  resolve(node: unknown): Node | undefined {
    this.#nodes += 1;
    if (this.#nodes > NODES_MAX) throw new ManifestError([{ ...this.locate(undefined), path: "", message: `must expand to at most ${NODES_MAX} values` }]);
    if (!isAlias(node)) return (node ?? undefined) as Node | undefined;
    return this.#document ? node.resolve(this.#document) : undefined;
  }

  locate(node: unknown): Location {
    const start = (node as Node | null | undefined)?.range?.[0];
    return start === undefined ? { file: this.file, line: 1, column: 1 } : this.#at(start);
  }

  /** Gives undefined, so that a reader can note a fault and give up in one statement. */
  note(node: unknown, path: string, message: string): undefined {
    this.faults.push({ ...this.locate(node), path, message });
    return undefined;
  }

  #at(offset: number): Location {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.file, line: Math.max(1, line), column: Math.max(1, col) };
  }

  #refuse(message: string): [] {
    this.faults.push({ file: this.file, line: 1, column: 1, path: "", message });
    return [];
  }
}

/** The parser recurses: a text that nests without end is a fault of the text, not of this program. */
function parseBounded(text: string, lineCounter: LineCounter): Document[] | undefined {
  try {
    const parsed = parseAllDocuments(text, { lineCounter, uniqueKeys: true, prettyErrors: false });
    return (Array.isArray(parsed) ? parsed : []) as Document[];
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The deepest node that a field path of the server, such as "virtual_machine.spec.template", has in the text. */
export function nodeAt(root: YAMLMap, fieldPath: string): Node {
  const steps = [...fieldPath.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.[\]]+)/g)].map(([, key, index, name]) => key ?? index ?? name!);
  let node: Node = root;
  for (const step of steps.slice(1)) {
    const next: unknown = isMap(node) ? (node.get(step, true) ?? node.get(camelField(step), true)) : isSeq(node) ? node.get(Number(step), true) : undefined;
    if (next === undefined || next === null) break;
    node = next as Node;
  }
  return node;
}
