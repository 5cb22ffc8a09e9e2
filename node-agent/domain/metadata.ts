/**
 * What a domain carries of the record that it belongs to (pure): enough to look the record up again from the host
 * alone, and the epoch under which the domain may exist.
 */
import { XMLParser } from "fast-xml-parser";
import { droverElement, METADATA_PREFIX, METADATA_URI } from "../libvirt/metadata.ts";
import { element, InvalidDomain, serialize } from "./element.ts";
import type { Element } from "./element.ts";

export type InstanceMetadata = {
  namespace: string;
  vm: string;
  vmUid: string;
  vmiUid: string;
  epoch: number;
  /** metadata.generation of the VirtualMachine that the domain was made from. */
  generation: number;
};

const TAG = `${METADATA_PREFIX}:instance`;
const DECLARATION = `xmlns:${METADATA_PREFIX}`;

export function metadataElement(metadata: InstanceMetadata): Element {
  return element(TAG, { [DECLARATION]: METADATA_URI, ...metadata });
}

/** The element as text, as `Hypervisor.setMetadata` takes it. */
export function instanceMetadata(metadata: InstanceMetadata): string {
  return serialize(metadataElement(metadata));
}

const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: "", parseAttributeValue: false });

/** Undefined when the text is not Drover's, or of a form that this version does not know: such a domain is foreign. */
export function parseInstanceMetadata(text: string | undefined): InstanceMetadata | undefined {
  const { namespace, vm, vmUid, vmiUid, epoch, generation } = attributesOf(text) ?? {};
  if (!namespace || !vm || !vmUid || !vmiUid) return undefined;
  if (!isCount(epoch) || !isCount(generation)) return undefined;
  return { namespace, vm, vmUid, vmiUid, epoch: Number(epoch), generation: Number(generation) };
}

/**
 * A domain's XML with another epoch in it and nothing else changed: what a migration's target is to define. Attributes
 * that a newer version wrote stay.
 */
export function replaceEpoch(domainXml: string, epoch: number): string {
  const before = droverElement(domainXml);
  const attributes = attributesOf(before);
  if (before === undefined || attributes === undefined) throw new InvalidDomain("Cannot set the domain's epoch: it carries no metadata of Drover");
  const after = serialize(element(TAG, { ...attributes, [DECLARATION]: METADATA_URI, epoch }));
  return domainXml.replace(before, () => after);
}

function attributesOf(text: string | undefined): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  const root = parseOrNothing(text)?.[TAG];
  return typeof root === "object" && root !== null ? (root as Record<string, string>) : undefined;
}

/** Anybody with access to the daemon can write metadata, so a text that is no XML is no reason to fall over. */
function parseOrNothing(text: string): Record<string, unknown> | undefined {
  try {
    return parser.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

const isCount = (text: string | undefined) => text !== undefined && /^\d{1,15}$/.test(text);
