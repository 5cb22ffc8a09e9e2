/** Reading domains, and the changes that take more than one call. */
import { XMLParser } from "fast-xml-parser";
import { affectFlag, errorCode, metadataType, reasonNames, stateNames } from "../constants.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { Domain, LaunchOptions } from "../hypervisor.ts";
import { METADATA_PREFIX, METADATA_URI, withNamespace, withoutNamespace } from "../metadata.ts";
import { refuseOthers } from "../others.ts";
import type { DomainHandle, Lane } from "./lane.ts";
import type { Pointer } from "./library.ts";

/** A domain that goes while the list is read is left out. */
export async function list(lane: Lane): Promise<Domain[]> {
  const array: [Pointer] = [0n];
  const count = await lane.onConnection("virConnectListAllDomains", array, 0);
  using stack = new DisposableStack();
  const handles = lane.library.takeArray(array[0], count as number).map((one) => stack.use(lane.handle(one)));
  const domains: Domain[] = [];
  for (const handle of handles) {
    const domain = await orUndefined(describe(lane, handle));
    if (domain !== undefined) domains.push(domain);
  }
  return domains;
}

export function get(lane: Lane, uuid: string): Promise<Domain | undefined> {
  return orUndefined(withDomain(lane, uuid, (handle) => describe(lane, handle)));
}

export function findByName(lane: Lane, name: string): Promise<Domain | undefined> {
  return orUndefined(
    lane.onConnection("virDomainLookupByName", name).then(async (address) => {
      using handle = lane.handle(address);
      return await describe(lane, handle);
    }),
  );
}

/** Looks up, works, frees. */
export async function withDomain<T>(lane: Lane, uuid: string, work: (handle: DomainHandle) => Promise<T>): Promise<T> {
  using handle = await lane.lookup(uuid);
  return await work(handle);
}

async function describe(lane: Lane, handle: DomainHandle): Promise<Domain> {
  const state: [number] = [0];
  const reason: [number] = [0];
  await lane.onDomain("virDomainGetState", handle, state, reason, 0);
  const metadata = await metadataOf(lane, handle);
  return {
    uuid: handle.uuid,
    name: handle.name,
    state: stateNames[state[0]] ?? "nostate",
    // A newer libvirt may know more reasons than this table; the number still says which.
    reason: reasonNames[state[0]]?.[reason[0]] ?? String(reason[0]),
    persistent: (await lane.onDomain("virDomainIsPersistent", handle)) === 1,
    ...(metadata === undefined ? {} : { metadata }),
  };
}

/** Asked for alone: libvirt would have to write out the whole definition, and everybody to read it, at each look. */
async function metadataOf(lane: Lane, handle: DomainHandle): Promise<string | undefined> {
  try {
    const element = await lane.onDomain("virDomainGetMetadata", handle, metadataType.ELEMENT, METADATA_URI, 0);
    return withNamespace((element as string).trimEnd());
  } catch (error) {
    if (error instanceof HypervisorError && error.code === errorCode.NO_DOMAIN_METADATA) return undefined;
    throw error;
  }
}

export async function define(lane: Lane, xml: string): Promise<string> {
  using handle = await defineHandle(lane, xml);
  return handle.uuid;
}

/** All that a start asks of libvirt, in one piece: look, define, create, and look at what has come of it. */
export async function launch(lane: Lane, { uuid, name, xml }: LaunchOptions): Promise<Domain> {
  refuseOthers({ uuid, name }, { sameUuid: await get(lane, uuid), sameName: await findByName(lane, name) });
  using handle = await defineHandle(lane, xml);
  await start(lane, handle);
  return await describe(lane, handle);
}

async function defineHandle(lane: Lane, xml: string): Promise<DomainHandle> {
  try {
    return lane.handle(await lane.onConnection("virDomainDefineXMLFlags", xml, 0));
  } catch (error) {
    const refused = error instanceof HypervisorError && error.code === errorCode.OPERATION_FAILED;
    if (refused && (await taken(lane, xml))) throw new HypervisorError("already-exists", error.message, error.code);
    throw error;
  }
}

/** libvirt has no code of its own for a name or UUID that another domain has; whether one has is asked. */
async function taken(lane: Lane, xml: string): Promise<boolean> {
  const { domain } = new XMLParser({ parseTagValue: false }).parse(xml) as { domain: { name?: string; uuid?: string } };
  const byName = domain.name === undefined ? undefined : await findByName(lane, domain.name);
  const byUuid = domain.uuid === undefined ? undefined : await get(lane, domain.uuid);
  return byName?.uuid !== byUuid?.uuid;
}

export function create(lane: Lane, uuid: string): Promise<void> {
  return withDomain(lane, uuid, (handle) => start(lane, handle));
}

/** Drivers differ in the code for a domain that runs already; whether it does is asked. */
async function start(lane: Lane, handle: DomainHandle): Promise<void> {
  try {
    await lane.onDomain("virDomainCreateWithFlags", handle, 0);
  } catch (error) {
    if (!(error instanceof HypervisorError) || error.kind !== "failed") throw error;
    const active = (await lane.onDomain("virDomainIsActive", handle)) === 1;
    throw active ? new HypervisorError("invalid-state", error.message, error.code) : error;
  }
}

export function setMetadata(lane: Lane, uuid: string, element: string): Promise<void> {
  return withDomain(lane, uuid, async (handle) => {
    const live = (await lane.onDomain("virDomainIsActive", handle)) === 1 ? affectFlag.LIVE : 0;
    const config = (await lane.onDomain("virDomainIsPersistent", handle)) === 1 ? affectFlag.CONFIG : 0;
    const text = withoutNamespace(element);
    await lane.onDomain(
      "virDomainSetMetadata", handle, metadataType.ELEMENT, text, METADATA_PREFIX, METADATA_URI, live | config,
    );
  });
}

async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  return reading.catch((error: unknown) => {
    if (error instanceof HypervisorError && error.kind === "no-domain") return undefined;
    throw error;
  });
}
