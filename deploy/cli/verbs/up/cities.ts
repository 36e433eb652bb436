/**
 * Well-known places for `nearcast up --sites`: codes as operators name their sites, mostly the IATA code of the city or
 * its airport. Coordinates are those of the city centre, with two decimals (about a kilometre).
 */

export interface City {
  readonly city: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  readonly latitude: number;
  readonly longitude: number;
}

const rows = `
ams  52.37    4.90  NL  Amsterdam
atl  33.75  -84.39  US  Atlanta
bkk  13.76  100.50  TH  Bangkok
bog   4.71  -74.07  CO  Bogota
bom  19.08   72.88  IN  Mumbai
cdg  48.86    2.35  FR  Paris
cpt -33.92   18.42  ZA  Cape Town
del  28.61   77.21  IN  Delhi
den  39.74 -104.99  US  Denver
dfw  32.78  -96.80  US  Dallas
dub  53.35   -6.26  IE  Dublin
dxb  25.20   55.27  AE  Dubai
eze -34.60  -58.38  AR  Buenos Aires
fra  50.11    8.68  DE  Frankfurt
gru -23.55  -46.63  BR  Sao Paulo
hel  60.17   24.94  FI  Helsinki
hkg  22.32  114.17  HK  Hong Kong
iad  38.91  -77.04  US  Washington
ist  41.01   28.98  TR  Istanbul
jnb -26.20   28.05  ZA  Johannesburg
kix  34.69  135.50  JP  Osaka
lax  34.05 -118.24  US  Los Angeles
lhr  51.51   -0.13  GB  London
lim -12.05  -77.04  PE  Lima
lon  51.51   -0.13  GB  London
los   6.52    3.38  NG  Lagos
mad  40.42   -3.70  ES  Madrid
mel -37.81  144.96  AU  Melbourne
mex  19.43  -99.13  MX  Mexico City
mia  25.76  -80.19  US  Miami
mil  45.46    9.19  IT  Milan
nbo  -1.29   36.82  KE  Nairobi
nyc  40.71  -74.01  US  New York
ord  41.88  -87.63  US  Chicago
par  48.86    2.35  FR  Paris
scl -33.45  -70.67  CL  Santiago
sea  47.61 -122.33  US  Seattle
sel  37.57  126.98  KR  Seoul
sfo  37.77 -122.42  US  San Francisco
sin   1.35  103.82  SG  Singapore
sto  59.33   18.07  SE  Stockholm
syd -33.87  151.21  AU  Sydney
tpe  25.03  121.57  TW  Taipei
tyo  35.68  139.69  JP  Tokyo
vie  48.21   16.37  AT  Vienna
waw  52.23   21.01  PL  Warsaw
yyz  43.65  -79.38  CA  Toronto
zrh  47.38    8.54  CH  Zurich
`;

export const cities: ReadonlyMap<string, City> = new Map(
  rows
    .trim()
    .split("\n")
    .map((row) => {
      const [code = "", latitude = "", longitude = "", country = "", ...words] = row.split(/\s+/);
      return [code, { city: words.join(" "), country, latitude: Number(latitude), longitude: Number(longitude) }];
    }),
);

/** The single site of a machine that runs the whole CDN: at sea, so that nobody mistakes it for a real place. */
export const localSite = "local";
export const localPlace: City = { city: "this machine", country: "", latitude: 0, longitude: 0 };
