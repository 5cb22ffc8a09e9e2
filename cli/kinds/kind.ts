/** What the command knows of a kind: its names, how to reach it, and what a table shows of it. */
import type { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import type { CompatServiceDefinition } from "nice-grpc";
import type { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { camelWord } from "../../lib/manifest/names.ts";

export type Resource = { metadata: ObjectMeta | undefined };

/** Methods rather than functions, so that a kind of one resource can stand in a list of all kinds. */
export type Codec<T> = {
  encode(message: T): BinaryWriter;
  decode(input: BinaryReader | Uint8Array): T;
};

export type Column<T> = {
  title: string;
  /** Shown by `-o wide` only. */
  wide?: true;
  cell(object: T, now: Date): string;
};

export type Kind<T extends Resource = Resource> = {
  /** As in manifests, such as "VirtualMachine". */
  kind: string;
  namespaced: boolean;
  /** What the API calls it in methods and fields: "VirtualMachine", plural, and the response's fields. */
  noun: string;
  nounPlural: string;
  field: string;
  listField: string;
  definition: CompatServiceDefinition;
  codec: Codec<T>;
  columns: readonly Column<T>[];
  /** Fields of the status that `describe` tells in lines of its own. */
  told?: { fields: readonly string[]; lines(object: T): string[] };
};

/** "Running" for Phase.RUNNING; a value that only a newer server knows is shown as its number. */
export function word(values: Readonly<Record<string, number>>, value: number | undefined): string {
  if (value === undefined || value === 0) return "";
  const name = Object.keys(values).find((key) => values[key] === value);
  return name === undefined ? String(value) : camelWord(name);
}

/** "5m", "3h12m": how long ago, in two units at most, as kubectl writes it. */
export function age(since: Date | undefined, now: Date): string {
  if (!since) return "<unknown>";
  const seconds = Math.max(0, Math.floor((now.getTime() - since.getTime()) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return two(`${minutes}m`, seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return two(`${hours}h`, minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  return days < 8 ? two(`${days}d`, hours % 24, "h") : `${days}d`;
}

const two = (large: string, small: number, unit: string) => (small === 0 ? large : `${large}${small}${unit}`);

export const nameColumn: Column<Resource> = { title: "NAME", cell: ({ metadata }) => metadata?.name ?? "" };
export const namespaceColumn: Column<Resource> = { title: "NAMESPACE", cell: ({ metadata }) => metadata?.namespace ?? "" };
export const ageColumn: Column<Resource> = { title: "AGE", cell: ({ metadata }, now) => age(metadata?.creationTimestamp, now) };
