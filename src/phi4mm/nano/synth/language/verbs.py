"""The verbs of the four languages: English | German | French | Spanish | kinds of their objects.

A row may go on in further, indented lines. Only the infinitive is given of a verb that the rules conjugate. Otherwise:
English  base, third person, past
German   infinitive, ich, du, er, participle
French   infinitive, je, tu, il, nous, ils, participle
Spanish  infinitive, yo, tú, él, nosotros, ellos, and the same five of the past
`+` marks a German or French past with sein or être.
"""

from __future__ import annotations

from dataclasses import dataclass

from phi4mm.nano.synth.language.tables import lines


@dataclass(frozen=True)
class Verb:
    """A verb in four languages; present and past have five persons: I, you, he, we, they.

    be       whether the German and the French past are made with sein, être
    objects  kinds of nouns that may be its object; empty without an object
    """

    en: tuple[str, str, str]
    de_infinitive: str
    de: tuple[str, ...]
    de_participle: str
    fr_infinitive: str
    fr: tuple[str, ...]
    fr_participle: str
    es_infinitive: str
    es: tuple[str, ...]
    es_past: tuple[str, ...]
    be: tuple[bool, bool]
    objects: tuple[str, ...]


TABLE = """
    buy buys bought | kaufen | acheter achète achètes achète achetons achètent acheté | comprar | goods
    sell sells sold | verkaufen verkaufe verkaufst verkauft verkauft | vendre vends vends vend vendons vendent
        vendu | vender | goods
    eat eats ate | essen esse isst isst gegessen | manger | comer | food dish
    drink drinks drank | trinken trinke trinkst trinkt getrunken | boire bois bois boit buvons boivent bu |
        beber | drink
    see sees saw | sehen sehe siehst sieht gesehen | voir vois vois voit voyons voient vu | ver veo ves ve vemos
        ven vi viste vio vimos vieron | seen
    want wants wanted | wollen will willst will gewollt | vouloir veux veux veut voulons veulent voulu | querer
        quiero quieres quiere queremos quieren quise quisiste quiso quisimos quisieron | goods
    find finds found | finden finde findest findet gefunden | trouver | encontrar encuentro encuentras encuentra
        encontramos encuentran encontré encontraste encontró encontramos encontraron | thing clothes box text
        animal
    look-for looks-for looked-for | suchen | chercher | buscar busco buscas busca buscamos buscan busqué
        buscaste buscó buscamos buscaron | thing clothes box text animal room building
    open opens opened | öffnen öffne öffnest öffnet geöffnet | ouvrir ouvre ouvres ouvre ouvrons ouvrent ouvert
        | abrir | door box
    close closes closed | schließen schließe schließt schließt geschlossen | fermer | cerrar cierro cierras
        cierra cerramos cierran cerré cerraste cerró cerramos cerraron | door box
    clean cleans cleaned | putzen putze putzt putzt geputzt | nettoyer nettoie nettoies nettoie nettoyons
        nettoient nettoyé | limpiar | room door vehicle
    wash washes washed | waschen wasche wäschst wäscht gewaschen | laver | lavar | clothes vehicle animal
    bring brings brought | bringen bringe bringst bringt gebracht | apporter | traer traigo traes trae traemos
        traen traje trajiste trajo trajimos trajeron | food drink dish thing box
    read reads read | lesen lese liest liest gelesen | lire lis lis lit lisons lisent lu | leer leo lees lee
        leemos leen leí leíste leyó leímos leyeron | text
    write writes wrote | schreiben schreibe schreibst schreibt geschrieben | écrire écris écris écrit écrivons
        écrivent écrit | escribir | text
    hear hears heard | hören | entendre entends entends entend entendons entendent entendu | oír oigo oyes oye
        oímos oyen oí oíste oyó oímos oyeron | person family animal
    know knows knew | kennen kenne kennst kennt gekannt | connaître connais connais connaît connaissons
        connaissent connu | conocer conozco conoces conoce conocemos conocen conocí conociste conoció conocimos
        conocieron | person family building
    visit visits visited | besuchen besuche besuchst besucht besucht | visiter | visitar | building
    forget forgets forgot | vergessen vergesse vergisst vergisst vergessen | oublier | olvidar | thing text box clothes
    lose loses lost | verlieren verliere verlierst verliert verloren | perdre perds perds perd perdons perdent
        perdu | perder pierdo pierdes pierde perdemos pierden perdí perdiste perdió perdimos perdieron | thing
        box clothes
    take takes took | nehmen nehme nimmst nimmt genommen | prendre prends prends prend prenons prennent pris |
        tomar | vehicle
    cook cooks cooked | kochen | cuisiner | cocinar | food
    paint paints painted | malen | peindre peins peins peint peignons peignent peint | pintar | door furniture
        room outdoors
    draw draws drew | zeichnen zeichne zeichnest zeichnet gezeichnet | dessiner | dibujar | animal thing vehicle
    build builds built | bauen | construire construis construis construit construisons construisent construit |
        construir construyo construyes construye construimos construyen construí construiste construyó
        construimos construyeron | building furniture
    count counts counted | zählen | compter | contar cuento cuentas cuenta contamos cuentan conté contaste contó
        contamos contaron | animal thing
    love loves loved | lieben | aimer | amar | family
    understand understands understood | verstehen verstehe verstehst versteht verstanden | comprendre comprends
        comprends comprend comprenons comprennent compris | entender entiendo entiendes entiende entendemos
        entienden entendí entendiste entendió entendimos entendieron | text
    cut cuts cut | schneiden schneide schneidest schneidet geschnitten | couper | cortar | dish
    have has had | haben habe hast hat gehabt | avoir ai as a avons ont eu | tener tengo tienes tiene tenemos
        tienen tenía tenías tenía teníamos tenían | goods family animal
    cost costs cost | kosten koste kostest kostet gekostet | coûter | costar cuesto cuestas cuesta costamos
        cuestan costé costaste costó costamos costaron | money
    sleep sleeps slept | schlafen schlafe schläfst schläft geschlafen | dormir dors dors dort dormons dorment
        dormi | dormir duermo duermes duerme dormimos duermen dormí dormiste durmió dormimos durmieron |
    work works worked | arbeiten arbeite arbeitest arbeitet gearbeitet | travailler | trabajar |
    sing sings sang | singen singe singst singt gesungen | chanter | cantar |
    dance dances danced | tanzen tanze tanzt tanzt getanzt | danser | bailar |
    swim swims swam | schwimmen schwimme schwimmst schwimmt geschwommen + | nager | nadar |
    play plays played | spielen | jouer | jugar juego juegas juega jugamos juegan jugué jugaste jugó jugamos jugaron |
    cry cries cried | weinen | pleurer | llorar |
    laugh laughs laughed | lachen | rire ris ris rit rions rient ri | reír río ríes ríe reímos ríen reí reíste
        rio reímos rieron |
    live lives lived | wohnen | habiter | vivir |
    wait waits waited | warten warte wartest wartet gewartet | attendre attends attends attend attendons
        attendent attendu | esperar |
    go goes went | gehen gehe gehst geht gegangen + | aller vais vas va allons vont allé + | ir voy vas va vamos
        van fui fuiste fue fuimos fueron |
    come comes came | kommen komme kommst kommt gekommen + | venir viens viens vient venons viennent venu + |
        venir vengo vienes viene venimos vienen vine viniste vino vinimos vinieron |
    travel travels traveled | reisen reise reist reist gereist + | voyager | viajar |
    begin begins began | beginnen beginne beginnst beginnt begonnen | commencer | empezar empiezo empiezas
        empieza empezamos empiezan empecé empezaste empezó empezamos empezaron |
"""
GOODS = ("food", "drink", "dish", "thing", "text", "clothes", "box", "furniture", "vehicle")
SEEN = (*GOODS, "person", "family", "animal", "room", "building", "place", "outdoors")


def _german(words: list[str]) -> tuple[str, tuple[str, ...], str]:
    infinitive = words[0]
    stem = infinitive.removesuffix("n").removesuffix("e")
    first, second, third, participle = words[1:] if words[1:] else (f"{stem}e", f"{stem}st", f"{stem}t", f"ge{stem}t")
    return infinitive, (first, second, third, infinitive, infinitive), participle


def _french(words: list[str]) -> tuple[str, tuple[str, ...], str]:
    if words[1:]:
        return words[0], tuple(words[1:6]), words[6]
    stem = words[0].removesuffix("er")
    soft = f"{stem[:-1]}ç" if stem.endswith("c") else f"{stem}e" if stem.endswith("g") else stem
    return words[0], (f"{stem}e", f"{stem}es", f"{stem}e", f"{soft}ons", f"{stem}ent"), f"{stem}é"


def _spanish(words: list[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    if words[1:]:
        return words[0], tuple(words[1:6]), tuple(words[6:11])
    stem, ending = words[0][:-2], words[0][-2:]
    present = {"ar": "o as a amos an", "er": "o es e emos en", "ir": "o es e imos en"}[ending]
    past = "é aste ó amos aron" if ending == "ar" else "í iste ió imos ieron"
    return words[0], tuple(stem + end for end in present.split()), tuple(stem + end for end in past.split())


def _verb(line: str) -> Verb:
    en, de, fr, es, kinds = (part.split() for part in line.strip().split("|"))
    base, third, past = (word.replace("-", " ") for word in en)
    be = "+" in de, "+" in fr
    de, fr = ([word for word in part if word != "+"] for part in (de, fr))
    objects = tuple(kind for name in kinds for kind in {"goods": GOODS, "seen": SEEN}.get(name, (name,)))
    return Verb((base, third, past), *_german(de), *_french(fr), *_spanish(es), be, objects)


VERBS: dict[str, Verb] = {verb.en[0]: verb for verb in map(_verb, lines(TABLE))}
