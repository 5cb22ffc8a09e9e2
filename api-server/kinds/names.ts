/** Kubernetes' rules for names, labels and annotations, as faults with paths. Pure. */
import type { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import type { Fault } from "../../lib/errors.ts";

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const QUALIFIED = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const ANNOTATIONS_BYTES_MAX = 64 * 1024;

export function dnsLabel(path: string, value: string): Fault[] {
  if (LABEL.test(value)) return [];
  return [{ path, message: `must be 1 to 63 characters of a-z, 0-9 and "-", beginning and ending with a letter or digit${shown(value)}` }];
}

export function dnsSubdomain(path: string, value: string): Fault[] {
  if (SUBDOMAIN.test(value)) return [];
  return [{ path, message: `must be at most 253 characters: labels of a-z, 0-9 and "-", joined with "."${shown(value)}` }];
}

/** A label's key: a name of at most 63 characters, with a DNS subdomain and "/" before it or not. */
export function labelKey(path: string, key: string): Fault[] {
  const slash = key.indexOf("/");
  const prefix = slash === -1 ? undefined : key.slice(0, slash);
  if (QUALIFIED.test(key.slice(slash + 1)) && (prefix === undefined || SUBDOMAIN.test(prefix))) return [];
  const message = `must be 1 to 63 characters of A-Z, a-z, 0-9, "-", "_" and ".", after an optional DNS name and "/"${shown(key)}`;
  return [{ path, message }];
}

export function labelValue(path: string, value: string): Fault[] {
  if (value === "" || QUALIFIED.test(value)) return [];
  return [{ path, message: `must be at most 63 characters of A-Z, a-z, 0-9, "-", "_" and "."${shown(value)}` }];
}

export function labels(path: string, map: Record<string, string>): Fault[] {
  return Object.entries(map).flatMap(([key, value]) => [
    ...labelKey(`${path}[${JSON.stringify(key)}]`, key),
    ...labelValue(`${path}[${JSON.stringify(key)}]`, value),
  ]);
}

export function annotations(path: string, map: Record<string, string>): Fault[] {
  const bytes = Object.entries(map).reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  return [
    ...Object.keys(map).flatMap((key) => labelKey(`${path}[${JSON.stringify(key)}]`, key)),
    ...(bytes > ANNOTATIONS_BYTES_MAX ? [{ path, message: `must be at most ${ANNOTATIONS_BYTES_MAX} bytes together: current size is ${bytes}` }] : []),
  ];
}

export type NameRules = { namespaced: boolean; longNames?: boolean };

/** What a user may say in the metadata of any object. */
export function validateMeta(metadata: ObjectMeta, { namespaced, longNames }: NameRules): Fault[] {
  const { name, namespace } = metadata;
  return [
    ...(longNames ? dnsSubdomain("metadata.name", name) : dnsLabel("metadata.name", name)),
    ...(namespaced ? dnsLabel("metadata.namespace", namespace) : empty("metadata.namespace", namespace)),
    ...labels("metadata.labels", metadata.labels),
    ...annotations("metadata.annotations", metadata.annotations),
  ];
}

export function empty(path: string, value: string): Fault[] {
  return value === "" ? [] : [{ path, message: "must be empty" }];
}

/** A fault for each entry whose identity another one has already; entries without one are nobody's twin. */
export function unique<T>(items: readonly T[], identity: (item: T) => string | undefined, path: (index: number) => string): Fault[] {
  const seen = new Map<string, number>();
  return items.flatMap((item, index) => {
    const id = identity(item);
    if (id === undefined) return [];
    const first = seen.get(id);
    if (first === undefined) seen.set(id, index);
    return first === undefined ? [] : [{ path: path(index), message: `must be unique: ${JSON.stringify(id)} is also at ${path(first)}` }];
  });
}

const SHOWN_LENGTH_MAX = 80;

function shown(value: string): string {
  const text = value.length > SHOWN_LENGTH_MAX ? `${value.slice(0, SHOWN_LENGTH_MAX)}…` : value;
  return `: current value is ${JSON.stringify(text)}`;
}
