import { readZoneFile } from "#fleet/zone-file/read-zone-file.ts";
const gen = (N: number) => { const parts=["$TTL 300\n@ SOA ns1 host 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n"];
for (let i=0;i<N;i++) parts.push(i%5===0?`host-${i} 600 IN AAAA 2001:db8::${(i&0xffff).toString(16)}\n`:i%7==0?`x${i} TXT "hello world ${i}" ; foo\n`:`host-${i}.sub IN A 192.0.${(i>>8)&255}.${i&255}\n`);
return parts.join("");};
const text = gen(110_000);
for (let k=0;k<25;k++) { const c=process.cpuUsage(); readZoneFile({ file: "x", text, zone: "cdn.test" }); const d=process.cpuUsage(c); if(k%6==0||k<3) console.log(k, ((d.user+d.system)/1000).toFixed(0),"cpu ms"); }
