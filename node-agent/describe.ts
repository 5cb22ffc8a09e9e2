/** What libvirt says of a domain at this moment, for the last step of `explain`. */
import { DomainDescription } from "../gen/drover/agent/v1/agent.ts";
import type { Hypervisor } from "./libvirt/hypervisor.ts";
import { parseInstanceMetadata } from "./domain/metadata.ts";

export async function describeDomain(hypervisor: Pick<Hypervisor, "get" | "job">, uuid: string): Promise<DomainDescription> {
  const domain = await hypervisor.get(uuid);
  if (!domain) return DomainDescription.create({ exists: false, job: "none" });
  const { name, state, reason, metadata } = domain;
  const job = await hypervisor.job(uuid).then(({ kind }) => kind, () => "none" as const);
  return DomainDescription.create({ exists: true, name, state, reason, job, epoch: parseInstanceMetadata(metadata)?.epoch ?? 0 });
}
