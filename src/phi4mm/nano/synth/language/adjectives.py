"""The adjectives of the four languages, a table a kind: English | German | French | Spanish.

German gives the form before endings where it differs. French gives the feminine, and the form before a vowel, where the
rules do not; `<` marks one that stands before its noun. In French and Spanish `!` marks a noun that is had: `avoir
faim`, `tener hambre`. Spanish gives the plural where the rules do not; `+` marks one that goes with `estar`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Adjective:
    """An adjective in four languages.

    kind  the name of its table
    de    the form by itself, and the one that takes endings
    fr    masculine, feminine, masculine before a vowel
    es    masculine and feminine singular, masculine and feminine plural
    """

    kind: str
    en: str
    de: tuple[str, str]
    fr: tuple[str, str, str]
    es: tuple[str, str, str, str]
    before: bool
    had: bool
    estar: bool


TABLES = {
    "size": """
        big | groß | grand < | grande
        small | klein | petit < | pequeño
        long | lang | long longue < | largo
        old | alt | vieux vieille vieil < | viejo
        new | neu | nouveau nouvelle nouvel < | nuevo
        beautiful | schön | beau belle bel < | bonito
        heavy | schwer | lourd | pesado
        light | leicht | léger légère | ligero
        expensive | teuer teur | cher chère | caro
        modern | modern | moderne | moderno
        strange | seltsam | étrange | extraño
    """,
    "color": """
        red | rot | rouge | rojo
        blue | blau | bleu | azul azules
        green | grün | vert | verde
        yellow | gelb | jaune | amarillo
        black | schwarz | noir | negro
        white | weiß | blanc blanche | blanco
        gray | grau | gris | gris grises
        brown | braun | brun | marrón marrones
    """,
    "taste": """
        hot | heiß | chaud | caliente +
        cold | kalt | froid | frío +
        sweet | süß | sucré | dulce
        fresh | frisch | frais fraîche | fresco +
        good | gut | bon bonne < | bueno +
        bad | schlecht | mauvais < | malo +
    """,
    "state": """
        clean | sauber | propre | limpio +
        dirty | schmutzig | sale | sucio +
        broken | kaputt | cassé | roto +
        empty | leer | vide | vacío +
        full | voll | plein | lleno +
        wet | nass | mouillé | mojado +
        dry | trocken | sec sèche | seco +
    """,
    "opening": """
        open | offen | ouvert | abierto +
        closed | geschlossen | fermé | cerrado +
    """,
    "text": """
        important | wichtig | important | importante
        interesting | interessant | intéressant | interesante
        easy | einfach | facile | fácil fáciles
        difficult | schwierig | difficile | difícil difíciles
        short | kurz | court | corto
    """,
    "person": """
        young | jung | jeune < | joven jóvenes
        friendly | freundlich | aimable | amable
        strong | stark | fort | fuerte
        rich | reich | riche | rico
        poor | arm | pauvre | pobre
        famous | berühmt | célèbre | famoso
        clever | klug | intelligent | inteligente
    """,
    "feeling": """
        happy | glücklich | heureux heureuse | feliz felices +
        sad | traurig | triste | triste +
        tired | müde müd | fatigué | cansado +
        sick | krank | malade | enfermo +
        busy | beschäftigt | occupé | ocupado +
        hungry | hungrig | faim ! | hambre !
        thirsty | durstig | soif ! | sed !
        ready | bereit | prêt | listo +
        alone | allein | seul | solo +
        angry | wütend | furieux furieuse | enfadado +
    """,
}


def _adjective(kind: str, line: str) -> Adjective:
    en, de, fr, es = (part.split() for part in line.strip().split(" | "))
    had, estar, before = "!" in fr, "+" in es, "<" in fr
    fr, es = ([word for word in part if word not in ("!", "+", "<")] for part in (fr, es))
    masculine = fr[0]
    feminine = fr[1] if len(fr) > 1 else masculine if masculine.endswith("e") else f"{masculine}e"
    one = es[0]
    other = f"{one[:-1]}a" if one.endswith("o") else one
    several = es[1] if len(es) > 1 else f"{one}s"
    spanish = one, other, several, f"{other}s" if one.endswith("o") else several
    french = masculine, feminine, fr[2] if len(fr) > 2 else masculine
    return Adjective(kind, en[0], (de[0], de[-1]), french, spanish, before, had, estar)


ADJECTIVES: dict[str, Adjective] = {
    adjective.en: adjective
    for kind, table in TABLES.items()
    for adjective in (_adjective(kind, line) for line in table.strip().splitlines())
}
