"""Words that bend little: times, frequencies, prepositions, cities, joining words, fixed sayings; in four languages.

Every row is English | German | French | Spanish.
"""

from __future__ import annotations

import re

from phi4mm.nano.synth.example import LANGUAGES, Language


def lines(table: str) -> list[str]:
    """The rows of a table; a line that is indented further belongs to the row before it."""
    return re.sub(r"\n {8,}", " ", table).strip().splitlines()


def _rows(table: str) -> dict[str, dict[Language, str]]:
    rows = [[cell.strip() for cell in line.split("|")] for line in lines(table)]
    return {row[0]: dict(zip(LANGUAGES, row, strict=True)) for row in rows}


PAST = _rows("""
    yesterday | gestern | hier | ayer
    last week | letzte Woche | la semaine dernière | la semana pasada
    last year | letztes Jahr | l'année dernière | el año pasado
    this morning | heute Morgen | ce matin | esta mañana
    two days ago | vor zwei Tagen | il y a deux jours | hace dos días
    three weeks ago | vor drei Wochen | il y a trois semaines | hace tres semanas
    a month ago | vor einem Monat | il y a un mois | hace un mes
""")
PRESENT = _rows("""
    now | jetzt | maintenant | ahora
    today | heute | aujourd'hui | hoy
    every day | jeden Tag | tous les jours | todos los días
    every Sunday | jeden Sonntag | tous les dimanches | todos los domingos
    in the morning | am Morgen | le matin | por la mañana
    in the afternoon | am Nachmittag | l'après-midi | por la tarde
    at night | in der Nacht | la nuit | por la noche
    in summer | im Sommer | en été | en verano
    in winter | im Winter | en hiver | en invierno
    in spring | im Frühling | au printemps | en primavera
    in autumn | im Herbst | en automne | en otoño
""")
FUTURE = _rows("""
    tomorrow | morgen | demain | mañana
    tonight | heute Abend | ce soir | esta noche
    next week | nächste Woche | la semaine prochaine | la próxima semana
    next year | nächstes Jahr | l'année prochaine | el próximo año
    on Monday | am Montag | lundi | el lunes
    on Tuesday | am Dienstag | mardi | el martes
    on Wednesday | am Mittwoch | mercredi | el miércoles
    on Thursday | am Donnerstag | jeudi | el jueves
    on Friday | am Freitag | vendredi | el viernes
    on Saturday | am Samstag | samedi | el sábado
    on Sunday | am Sonntag | dimanche | el domingo
    in May | im Mai | en mai | en mayo
    in October | im Oktober | en octobre | en octubre
    soon | bald | bientôt | pronto
""")
TIMES = PAST | PRESENT | FUTURE
FREQUENCIES = _rows("""
    always | immer | toujours | siempre
    often | oft | souvent | a menudo
    sometimes | manchmal | parfois | a veces
    never | nie | jamais | nunca
""")
PREPOSITIONS = _rows("""
    in | in | dans | en
    on | auf | sur | sobre
    under | unter | sous | debajo de
    behind | hinter | derrière | detrás de
    in front of | vor | devant | delante de
    next to | neben | à côté de | al lado de
    with | mit | avec | con
    for | für | pour | para
    to | zu | à | a
    from | von | de | de
""")
CITIES = _rows("""
    Paris | Paris | Paris | París
    London | London | Londres | Londres
    Rome | Rom | Rome | Roma
    Berlin | Berlin | Berlin | Berlín
    Madrid | Madrid | Madrid | Madrid
    Boston | Boston | Boston | Boston
    Tokyo | Tokio | Tokyo | Tokio
    Lisbon | Lissabon | Lisbonne | Lisboa
    Vienna | Wien | Vienne | Viena
    Prague | Prag | Prague | Praga
    Athens | Athen | Athènes | Atenas
    Milan | Mailand | Milan | Milán
    Geneva | Genf | Genève | Ginebra
    Munich | München | Munich | Múnich
    Warsaw | Warschau | Varsovie | Varsovia
""")
DAYS = _rows("""
    Monday | Montag | lundi | lunes
    Tuesday | Dienstag | mardi | martes
    Wednesday | Mittwoch | mercredi | miércoles
    Thursday | Donnerstag | jeudi | jueves
    Friday | Freitag | vendredi | viernes
    Saturday | Samstag | samedi | sábado
    Sunday | Sonntag | dimanche | domingo
""")
MONTHS = _rows("""
    January | Januar | janvier | enero
    February | Februar | février | febrero
    March | März | mars | marzo
    April | April | avril | abril
    May | Mai | mai | mayo
    June | Juni | juin | junio
    July | Juli | juillet | julio
    August | August | août | agosto
    September | September | septembre | septiembre
    October | Oktober | octobre | octubre
    November | November | novembre | noviembre
    December | Dezember | décembre | diciembre
""")
LANGUAGE_NAMES = _rows("""
    English | Englisch | anglais | inglés
    German | Deutsch | allemand | alemán
    French | Französisch | français | francés
    Spanish | Spanisch | espagnol | español
""")
JOINS = _rows("""
    and | und | et | y
    but | aber | mais | pero
    because | weil | parce que | porque
""")
WEATHER = _rows("""
    It is cold {when}{where}. | Es ist {when}{where} kalt. | Il fait froid {when}{where}. | Hace frío {when}{where}.
    It is warm {when}{where}. | Es ist {when}{where} warm. | Il fait chaud {when}{where}. | Hace calor {when}{where}.
    It is sunny {when}{where}. | Es ist {when}{where} sonnig. | Il y a du soleil {when}{where}. | Hace sol
        {when}{where}.
    It is windy {when}{where}. | Es ist {when}{where} windig. | Il y a du vent {when}{where}. | Hace viento
        {when}{where}.
    It is dark {when}{where}. | Es ist {when}{where} dunkel. | Il fait nuit {when}{where}. | Está oscuro {when}{where}.
    It is raining {when}{where}. | Es regnet {when}{where}. | Il pleut {when}{where}. | Llueve {when}{where}.
    It is snowing {when}{where}. | Es schneit {when}{where}. | Il neige {when}{where}. | Nieva {when}{where}.
""")
SAYINGS = _rows("""
    Good morning, {name}. | Guten Morgen, {name}. | Bonjour, {name}. | Buenos días, {name}.
    Good evening, {name}. | Guten Abend, {name}. | Bonsoir, {name}. | Buenas tardes, {name}.
    Good night, {name}. | Gute Nacht, {name}. | Bonne nuit, {name}. | Buenas noches, {name}.
    Hello, {name}. | Hallo, {name}. | Salut, {name}. | Hola, {name}.
    Goodbye, {name}. | Auf Wiedersehen, {name}. | Au revoir, {name}. | Adiós, {name}.
    Thank you, {name}. | Danke, {name}. | Merci, {name}. | Gracias, {name}.
    Thank you very much. | Vielen Dank. | Merci beaucoup. | Muchas gracias.
    My name is {name}. | Ich heiße {name}. | Je m'appelle {name}. | Me llamo {name}.
    What is your name? | Wie heißt du? | Comment t'appelles-tu ? | ¿Cómo te llamas?
    How old are you? | Wie alt bist du? | Quel âge as-tu ? | ¿Cuántos años tienes?
    I am {number} years old. | Ich bin {number} Jahre alt. | J'ai {number} ans. | Tengo {number} años.
    {name} is {number} years old. | {name} ist {number} Jahre alt. | {name} a {number} ans. | {name} tiene
        {number} años.
    What time is it? | Wie spät ist es? | Quelle heure est-il ? | ¿Qué hora es?
    It is {hour} o'clock. | Es ist {hour} Uhr. | Il est {hour} heures. | Son las {hour}.
    It is half past {hour}. | Es ist halb {next}. | Il est {hour} heures et demie. | Son las {hour} y media.
    It is a quarter past {hour}. | Es ist Viertel nach {hour}. | Il est {hour} heures et quart. | Son las {hour}
        y cuarto.
    Today is {day}. | Heute ist {day}. | Aujourd'hui, c'est {day}. | Hoy es {day}.
    Tomorrow is {day}. | Morgen ist {day}. | Demain, c'est {day}. | Mañana es {day}.
    My birthday is in {month}. | Mein Geburtstag ist im {month}. | Mon anniversaire est en {month}. | Mi
        cumpleaños es en {month}.
    The school begins in {month}. | Die Schule beginnt im {month}. | L'école commence en {month}. | La escuela
        empieza en {month}.
    {number} plus {more} is {sum}. | {number} plus {more} ist {sum}. | {number} plus {more} font {sum}. |
        {number} más {more} son {sum}.
    My room is number {number}. | Mein Zimmer hat die Nummer {number}. | Ma chambre a le numéro {number}.
        | Mi habitación es la número {number}.
    I speak {language}. | Ich spreche {language}. | Je parle {language}. | Hablo {language}.
    Do you speak {language}? | Sprichst du {language}? | Est-ce que tu parles {language} ? | ¿Hablas {language}?
    We learn {language}. | Wir lernen {language}. | Nous apprenons {language}. | Aprendemos {language}.
    Happy birthday, {name}. | Alles Gute zum Geburtstag, {name}. | Joyeux anniversaire, {name}. | Feliz
        cumpleaños, {name}.
    See you tomorrow. | Bis morgen. | À demain. | Hasta mañana.
    See you soon. | Bis bald. | À bientôt. | Hasta pronto.
    Good luck, {name}. | Viel Glück, {name}. | Bonne chance, {name}. | Buena suerte, {name}.
    I am sorry. | Es tut mir leid. | Je suis désolé. | Lo siento.
    I do not know. | Ich weiß es nicht. | Je ne sais pas. | No lo sé.
    How are you, {name}? | Wie geht es dir, {name}? | Comment vas-tu, {name} ? | ¿Cómo estás, {name}?
    I am well, thank you. | Mir geht es gut, danke. | Je vais bien, merci. | Estoy bien, gracias.
    Turn left, please. | Biege bitte links ab. | Tourne à gauche, s'il te plaît. | Gira a la izquierda, por favor.
    Turn right, please. | Biege bitte rechts ab. | Tourne à droite, s'il te plaît. | Gira a la derecha, por favor.
    The train to {city} leaves at {hour} o'clock. | Der Zug nach {city} fährt um {hour} Uhr. | Le train pour
        {city} part à {hour} heures. | El tren a {city} sale a las {hour}.
    The bus to {city} is late. | Der Bus nach {city} hat Verspätung. | Le bus pour {city} est en retard. | El
        autobús a {city} lleva retraso.
    A ticket to {city}, please. | Eine Fahrkarte nach {city}, bitte. | Un billet pour {city}, s'il te plaît. |
        Un billete a {city}, por favor.
    How far is it to {city}? | Wie weit ist es nach {city}? | À quelle distance est {city} ? | ¿A qué distancia
        está {city}?
    {city} is {number} kilometers from here. | {city} ist {number} Kilometer von hier entfernt. | {city} est à
        {number} kilomètres d'ici. | {city} está a {number} kilómetros de aquí.
    I have been here for {number} days. | Ich bin seit {number} Tagen hier. | Je suis ici depuis {number} jours.
        | Estoy aquí desde hace {number} días.
""")
