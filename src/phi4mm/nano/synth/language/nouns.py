"""The nouns of the four languages, a table a kind: English | German | French | Spanish.

A plural that the rules do not give follows after a comma; food and drink have none. The German `*` marks a noun whose
accusative and dative end as its plural does. After an apostrophe the gender follows the noun; `el agua f` is feminine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Gender: TypeAlias = Literal["m", "f", "n"]


@dataclass(frozen=True)
class Form:
    """A noun in one language.

    weak  the German ending of accusative and dative, or nothing
    el    whether a feminine Spanish noun has the article `el`
    """

    singular: str
    plural: str
    gender: Gender
    weak: str = ""
    el: bool = False


@dataclass(frozen=True)
class Noun:
    """A noun in four languages, and its kind: the name of its table."""

    kind: str
    en: Form
    de: Form
    fr: Form
    es: Form


TABLES = {
    "person": """
        man, men | der Mann, Männer | l'homme m | el hombre
        woman, women | die Frau, Frauen | la femme | la mujer
        girl | das Mädchen, Mädchen | la fille | la chica
        boy | der Junge*, Jungen | le garçon | el chico
        child, children | das Kind, Kinder | l'enfant m | el niño
        teacher | der Lehrer, Lehrer | le professeur | el profesor
        doctor | der Arzt, Ärzte | le médecin | el médico
        farmer | der Bauer*, Bauern | l'agriculteur m | el agricultor
        driver | der Fahrer, Fahrer | le chauffeur | el conductor
        student | der Student*, Studenten | l'étudiant m | el estudiante
        neighbor | der Nachbar*, Nachbarn | le voisin | el vecino
        waiter | der Kellner, Kellner | le serveur | el camarero
        guest | der Gast, Gäste | l'invité m | el invitado
        cook | der Koch, Köche | le cuisinier | el cocinero
        singer | der Sänger, Sänger | le chanteur | el cantante
    """,
    "family": """
        mother | die Mutter, Mütter | la mère | la madre
        father | der Vater, Väter | le père | el padre
        brother | der Bruder, Brüder | le frère | el hermano
        sister | die Schwester, Schwestern | la sœur | la hermana
        son | der Sohn, Söhne | le fils, fils | el hijo
        uncle | der Onkel, Onkel | l'oncle m | el tío
        aunt | die Tante, Tanten | la tante | la tía
        grandmother | die Großmutter, Großmütter | la grand-mère, grands-mères | la abuela
        grandfather | der Großvater, Großväter | le grand-père, grands-pères | el abuelo
        friend | der Freund, Freunde | l'ami m | el amigo
    """,
    "animal": """
        dog | der Hund, Hunde | le chien | el perro
        cat | die Katze, Katzen | le chat | el gato
        bird | der Vogel, Vögel | l'oiseau m | el pájaro
        horse | das Pferd, Pferde | le cheval, chevaux | el caballo
        fish, fish | der Fisch, Fische | le poisson | el pez, peces
        cow | die Kuh, Kühe | la vache | la vaca
        pig | das Schwein, Schweine | le cochon | el cerdo
        chicken | das Huhn, Hühner | la poule | la gallina
        mouse, mice | die Maus, Mäuse | la souris, souris | el ratón, ratones
        bear | der Bär*, Bären | l'ours m, ours | el oso
    """,
    "food": """
        bread | das Brot | le pain | el pan
        cheese | der Käse | le fromage | el queso
        soup | die Suppe | la soupe | la sopa
        rice | der Reis | le riz | el arroz
        meat | das Fleisch | la viande | la carne
        butter | die Butter | le beurre | la mantequilla
        salt | das Salz | le sel | la sal
        sugar | der Zucker | le sucre | el azúcar
        chocolate | die Schokolade | le chocolat | el chocolate
    """,
    "drink": """
        coffee | der Kaffee | le café | el café
        milk | die Milch | le lait | la leche
        water | das Wasser | l'eau f | el agua f
        tea | der Tee | le thé | el té
        wine | der Wein | le vin | el vino
        beer | das Bier | la bière | la cerveza
        juice | der Saft | le jus | el zumo
    """,
    "dish": """
        apple | der Apfel, Äpfel | la pomme | la manzana
        cake | der Kuchen, Kuchen | le gâteau | el pastel
        salad | der Salat, Salate | la salade | la ensalada
        lemon | die Zitrone, Zitronen | le citron | el limón, limones
        egg | das Ei, Eier | l'œuf m | el huevo
        potato, potatoes | die Kartoffel, Kartoffeln | la pomme de terre, pommes de terre | la patata
        tomato, tomatoes | die Tomate, Tomaten | la tomate | el tomate
        banana | die Banane, Bananen | la banane | el plátano
        orange | die Orange, Orangen | l'orange f | la naranja
        pizza | die Pizza, Pizzen | la pizza | la pizza
    """,
    "thing": """
        lamp | die Lampe, Lampen | la lampe | la lámpara
        clock | die Uhr, Uhren | l'horloge f | el reloj
        cup | die Tasse, Tassen | la tasse | la taza
        plate | der Teller, Teller | l'assiette f | el plato
        spoon | der Löffel, Löffel | la cuillère | la cuchara
        knife, knives | das Messer, Messer | le couteau | el cuchillo
        glass, glasses | das Glas, Gläser | le verre | el vaso
        phone | das Telefon, Telefone | le téléphone | el teléfono
        picture | das Bild, Bilder | le tableau | el cuadro
        key | der Schlüssel, Schlüssel | la clé | la llave
        umbrella | der Regenschirm, Regenschirme | le parapluie | el paraguas, paraguas
        camera | die Kamera, Kameras | l'appareil photo m, appareils photo | la cámara
        ball | der Ball, Bälle | le ballon | la pelota
        pen | der Stift, Stifte | le stylo | el bolígrafo
        flower | die Blume, Blumen | la fleur | la flor
        ticket | die Fahrkarte, Fahrkarten | le billet | el billete
        map | die Landkarte, Landkarten | la carte | el mapa
        computer | der Computer, Computer | l'ordinateur m | el ordenador
        present | das Geschenk, Geschenke | le cadeau | el regalo
    """,
    "text": """
        book | das Buch, Bücher | le livre | el libro
        letter | der Brief, Briefe | la lettre | la carta
        newspaper | die Zeitung, Zeitungen | le journal, journaux | el periódico
        story, stories | die Geschichte, Geschichten | l'histoire f | la historia
        word | das Wort, Wörter | le mot | la palabra
        question | die Frage, Fragen | la question | la pregunta
        answer | die Antwort, Antworten | la réponse | la respuesta
        song | das Lied, Lieder | la chanson | la canción, canciones
    """,
    "clothes": """
        coat | der Mantel, Mäntel | le manteau | el abrigo
        shirt | das Hemd, Hemden | la chemise | la camisa
        hat | der Hut, Hüte | le chapeau | el sombrero
        shoe | der Schuh, Schuhe | la chaussure | el zapato
        dress, dresses | das Kleid, Kleider | la robe | el vestido
        jacket | die Jacke, Jacken | la veste | la chaqueta
        ring | der Ring, Ringe | la bague | el anillo
    """,
    "box": """
        bag | die Tasche, Taschen | le sac | el bolso
        box, boxes | die Kiste, Kisten | la boîte | la caja
        bottle | die Flasche, Flaschen | la bouteille | la botella
        basket | der Korb, Körbe | le panier | la cesta
    """,
    "door": """
        door | die Tür, Türen | la porte | la puerta
        window | das Fenster, Fenster | la fenêtre | la ventana
        gate | das Tor, Tore | le portail | el portón, portones
    """,
    "furniture": """
        table | der Tisch, Tische | la table | la mesa
        chair | der Stuhl, Stühle | la chaise | la silla
        bed | das Bett, Betten | le lit | la cama
        sofa | das Sofa, Sofas | le canapé | el sofá
        shelf, shelves | das Regal, Regale | l'étagère f | el estante
    """,
    "outdoors": """
        wall | die Mauer, Mauern | le mur | el muro
        tree | der Baum, Bäume | l'arbre m | el árbol
        roof | das Dach, Dächer | le toit | el tejado
    """,
    "room": """
        kitchen | die Küche, Küchen | la cuisine | la cocina
        garden | der Garten, Gärten | le jardin | el jardín, jardines
        room | das Zimmer, Zimmer | la chambre | la habitación, habitaciones
        house | das Haus, Häuser | la maison | la casa
        bathroom | das Bad, Bäder | la salle de bains, salles de bains | el baño
        office | das Büro, Büros | le bureau | la oficina
    """,
    "building": """
        school | die Schule, Schulen | l'école f | la escuela
        hotel | das Hotel, Hotels | l'hôtel m | el hotel
        museum | das Museum, Museen | le musée | el museo
        shop | der Laden, Läden | le magasin | la tienda
        hospital | das Krankenhaus, Krankenhäuser | l'hôpital m, hôpitaux | el hospital
        restaurant | das Restaurant, Restaurants | le restaurant | el restaurante
        church, churches | die Kirche, Kirchen | l'église f | la iglesia
        library, libraries | die Bibliothek, Bibliotheken | la bibliothèque | la biblioteca
        cinema | das Kino, Kinos | le cinéma | el cine
        park | der Park, Parks | le parc | el parque
        village | das Dorf, Dörfer | le village | el pueblo
        forest | der Wald, Wälder | la forêt | el bosque
    """,
    "place": """
        station | der Bahnhof, Bahnhöfe | la gare | la estación, estaciones
        market | der Markt, Märkte | le marché | el mercado
        airport | der Flughafen, Flughäfen | l'aéroport m | el aeropuerto
        bridge | die Brücke, Brücken | le pont | el puente
        river | der Fluss, Flüsse | la rivière | el río
        beach, beaches | der Strand, Strände | la plage | la playa
        mountain | der Berg, Berge | la montagne | la montaña
        lake | der See, Seen | le lac | el lago
        bank | die Bank, Banken | la banque | el banco
        street | die Straße, Straßen | la rue | la calle
    """,
    "vehicle": """
        car | das Auto, Autos | la voiture | el coche
        bus, buses | der Bus, Busse | le bus, bus | el autobús, autobuses
        train | der Zug, Züge | le train | el tren
        boat | das Boot, Boote | le bateau | el barco
        bicycle | das Fahrrad, Fahrräder | le vélo | la bicicleta
        truck | der Lastwagen, Lastwagen | le camion | el camión, camiones
        plane | das Flugzeug, Flugzeuge | l'avion m | el avión, aviones
        taxi | das Taxi, Taxis | le taxi | el taxi
    """,
    "event": """
        course | der Kurs, Kurse | le cours, cours | el curso
        concert | das Konzert, Konzerte | le concert | el concierto
        film | der Film, Filme | le film | la película
        party, parties | das Fest, Feste | la fête | la fiesta
        game | das Spiel, Spiele | le jeu, jeux | el juego
    """,
    "money": """
        euro | der Euro, Euro | l'euro m | el euro
    """,
}


def _form(text: str, language: str) -> Form:
    """A cell of a table."""
    singular, _, plural = (part.strip() for part in text.partition(","))
    if language == "en":
        return Form(singular, plural or f"{singular}s", "n")
    marked = singular.endswith((" m", " f"))
    gender: Gender = "f" if singular.endswith(" f") else "m"
    singular = singular.removesuffix(f" {gender}").removeprefix("l'")
    if not marked or language == "es":
        article, singular = singular.split(" ", 1)
        if not marked:
            gender = {"die": "f", "la": "f", "das": "n"}.get(article, "m")  # type: ignore[assignment]
    weak = plural.removeprefix(singular[:-1]) if singular.endswith("*") else ""
    singular = singular.removesuffix("*")
    return Form(singular, plural or _plural(singular, language), gender, weak, marked and language == "es")


def _plural(singular: str, language: str) -> str:
    if language == "de":
        return singular
    if language == "fr":
        return singular + ("x" if singular.endswith("eau") else "s")
    return singular + ("s" if singular[-1] in "aeioáéó" else "es")


def _rows() -> Iterator[tuple[str, Noun]]:
    for kind, table in TABLES.items():
        for line in table.strip().splitlines():
            en, de, fr, es = line.strip().split(" | ")
            noun = Noun(kind, _form(en, "en"), _form(de, "de"), _form(fr, "fr"), _form(es, "es"))
            yield noun.en.singular, noun


NOUNS: dict[str, Noun] = dict(_rows())
