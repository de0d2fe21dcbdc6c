"""What nano's world does not hold, and how people ask for it: the tables of outside.py."""

from __future__ import annotations

from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.language.tables import lines

# English | German | French | Spanish
SUBJECTS = [line.strip().split(" | ") for line in lines("""
    democracy | Demokratie | la démocratie | la democracia
    photosynthesis | Photosynthese | la photosynthèse | la fotosíntesis
    gravity | Schwerkraft | la gravité | la gravedad
    inflation | Inflation | l'inflation | la inflación
    philosophy | Philosophie | la philosophie | la filosofía
    the French Revolution | die Französische Revolution | la Révolution française | la Revolución francesa
    the Roman Empire | das Römische Reich | l'Empire romain | el Imperio romano
    the world wars | die Weltkriege | les guerres mondiales | las guerras mundiales
    the moon | der Mond | la lune | la luna
    electricity | Elektrizität | l'électricité | la electricidad
    the brain | das Gehirn | le cerveau | el cerebro
    the heart | das Herz | le cœur | el corazón
    climate change | der Klimawandel | le changement climatique | el cambio climático
    the internet | das Internet | internet | internet
    artificial intelligence | künstliche Intelligenz | l'intelligence artificielle | la inteligencia artificial
    mathematics | Mathematik | les mathématiques | las matemáticas
    chemistry | Chemie | la chimie | la química
    economics | Wirtschaft | l'économie | la economía
    religion | Religion | la religion | la religión
    love | Liebe | l'amour | el amor
    death | der Tod | la mort | la muerte
    the meaning of life | der Sinn des Lebens | le sens de la vie | el sentido de la vida
    football | Fußball | le football | el fútbol
    chess | Schach | les échecs | el ajedrez
    tennis | Tennis | le tennis | el tenis
    the Olympic Games | die Olympischen Spiele | les Jeux olympiques | los Juegos Olímpicos
    dinosaurs | Dinosaurier | les dinosaures | los dinosaurios
    elephants | Elefanten | les éléphants | los elefantes
    whales | Wale | les baleines | las ballenas
    vaccines | Impfungen | les vaccins | las vacunas
    cancer | Krebs | le cancer | el cáncer
    fever | Fieber | la fièvre | la fiebre
    headaches | Kopfschmerzen | les maux de tête | los dolores de cabeza
    vitamins | Vitamine | les vitamines | las vitaminas
    sleep | Schlaf | le sommeil | el sueño
    stocks | Aktien | les actions | las acciones
    taxes | Steuern | les impôts | los impuestos
    elections | Wahlen | les élections | las elecciones
    the government | die Regierung | le gouvernement | el gobierno
    black holes | Schwarze Löcher | les trous noirs | los agujeros negros
    the planet Mars | der Planet Mars | la planète Mars | el planeta Marte
    atoms | Atome | les atomes | los átomos
    robots | Roboter | les robots | los robots
    computers | Computer | les ordinateurs | los ordenadores
    programming | Programmieren | la programmation | la programación
    Python | Python | Python | Python
    modern art | moderne Kunst | l'art moderne | el arte moderno
    classical music | klassische Musik | la musique classique | la música clásica
    jazz | Jazz | le jazz | el jazz
    poetry | Dichtung | la poésie | la poesía
    cooking | Kochen | la cuisine italienne | la cocina italiana
    marriage | die Ehe | le mariage | el matrimonio
    war | Krieg | la guerre | la guerra
    peace | Frieden | la paix | la paz
    volcanoes | Vulkane | les volcans | los volcanes
    earthquakes | Erdbeben | les tremblements de terre | los terremotos
    Africa | Afrika | l'Afrique | África
    China | China | la Chine | China
    Brazil | Brasilien | le Brésil | Brasil
    India | Indien | l'Inde | India
    Canada | Kanada | le Canada | Canadá
    Einstein | Einstein | Einstein | Einstein
    Mozart | Mozart | Mozart | Mozart
    Shakespeare | Shakespeare | Shakespeare | Shakespeare
    Napoleon | Napoleon | Napoléon | Napoleón
    Picasso | Picasso | Picasso | Picasso
""")]  # fmt: skip
ABOUT: dict[Language, tuple[str, ...]] = {
    "en": (
        "What is {}?", "Explain {}.", "Tell me about {}.", "How does {} work?", "Why is {} important?",
        "Write a poem about {}.",
        "What do you think about {}?", "Write a story about {}.", "Give me ten facts about {}.", "Who invented {}?",
        "What do you know about {}?", "Tell me a joke about {}.", "Write an essay about {}.",
        "What is the history of {}?",
        "Summarize {} in three sentences.", "When did {} begin?", "Can you explain {} to a child?",
        "Is {} good or bad?",
        "Write a song about {}.", "I want to learn about {}.", "What are the dangers of {}?",
        "Where can I read about {}?",
        "How do I learn about {}?", "What is the best book about {}?", "define {}", "explain {} please",
        "Do you like {}?",
        "What is the difference between {} and {}?", "Compare {} with {}.", "What is the future of {}?", "{}", "{}?",
        "Why do people care about {}?", "How many people know about {}?", "Are you interested in {}?", "I like {}.",
        "Translate {} into Italian.", "How do you say {} in Chinese?", "Make a quiz about {}.", "Draw a picture of {}.",
    ),
    "de": (
        "Was ist {}?", "Erkläre mir {}.", "Erzähl mir etwas über {}.", "Wie funktioniert {}?",
        "Schreib ein Gedicht über {}.",
        "Was denkst du über {}?", "Warum ist {} wichtig?", "Was weißt du über {}?", "Schreib eine Geschichte über {}.",
        "Wer hat {} erfunden?", "Nenne mir zehn Fakten über {}.", "Ist {} gefährlich?", "Erzähl einen Witz über {}.",
        "Magst du {}?", "Wo finde ich ein Buch über {}?",
    ),
    "fr": (
        "Qu'est-ce que {} ?", "Explique-moi {}.", "Parle-moi de {}.", "Comment fonctionne {} ?",
        "Écris un poème sur {}.",
        "Que penses-tu de {} ?", "Pourquoi {} est important ?", "Que sais-tu de {} ?", "Écris une histoire sur {}.",
        "Qui a inventé {} ?", "Donne-moi dix faits sur {}.", "Raconte une blague sur {}.", "Aimes-tu {} ?",
        "Quelle est la différence entre {} et {} ?", "Où puis-je lire un livre sur {} ?",
        "Quelle est l'histoire de {} ?",
    ),
    "es": (
        "¿Qué es {}?", "Explícame {}.", "Háblame de {}.", "¿Cómo funciona {}?", "Escribe un poema sobre {}.",
        "¿Qué piensas de {}?", "¿Por qué es importante {}?", "¿Qué sabes de {}?", "Escribe una historia sobre {}.",
        "¿Quién inventó {}?", "Dame diez datos sobre {}.", "Cuéntame un chiste sobre {}.", "¿Te gusta {}?",
        "¿Cuál es la diferencia entre {} y {}?", "¿Dónde puedo leer sobre {}?", "¿Cuál es la historia de {}?",
    ),
}  # fmt: skip


def _list(text: str) -> tuple[str, ...]:
    """The sentences of a text, divided by `|` or by lines."""
    return tuple(part.strip() for part in text.strip().replace("\n", "|").split("|"))


PLAIN: dict[Language, tuple[str, ...]] = {
    "en": _list("""
        Tell me a joke.|Tell me a story.|Write a poem.|Sing a song.|What time is it?|What day is it today?
        What is the date?
        What is the weather like?|Will it rain tomorrow?|What is the news?|Who is the president?|How old are you?
        What did I eat yesterday?|Do you have a family?|Are you hungry?|Can you drive a car?
        What should I eat tonight?|I am bored.|I am sad.|I have a headache.|I feel sick.|My back hurts.|I cannot sleep.
        How do I lose weight?|How do I make money?|How do I find a job?|How do I learn a language?|How do I cook an egg?
        Write an email to my boss.|Write a letter to my landlord.|Give me a recipe.|Recommend a film.|Recommend a book.
        Plan my holiday.|What is the best phone?|Which car should I buy?|How much does a house cost?|What is love?
        How far is the moon?|How hot is the sun?|How many stars are there?|Who won the game?|Who discovered America?
        What is the biggest animal?|What is the tallest building?|How many people live on earth?|Is there a god?
        How do I kill a process?|How do I delete a file?|Write a program.|Fix my code.|Why does my code not work?
        What is a prime number?|Solve this equation.|Prove this theorem.|What is the square root of two?|What is pi?
        It is raining.|My cat is ill.|I like football.|I went home.|The train was late.|I bought a new car.
        Guess a number.
        Where are my keys?|What did I say?|Play a game with me.|Search the web.
        Open the door.|Call my mother.|Order a pizza.|Turn on the light.|Send an email.|Set an alarm.|Buy milk.
        Play music.
        Is it healthy to run?|Can dogs eat chocolate?|Do fish sleep?|Why is water wet?|Why do birds fly?
        Why is grass soft?
        """),
    "de": _list("""
        Erzähl einen Witz.|Erzähl mir eine Geschichte.|Wie spät ist es?|Welcher Tag ist heute?|Wie wird das Wetter?
        Wer ist der Kanzler?|Wie alt bist du?|Was soll ich heute essen?|Mir ist langweilig.|Ich habe Kopfschmerzen.
        Ich bin traurig.|Wie nehme ich ab?|Wie lerne ich Englisch?|Schreib eine Mail an meinen Chef.|Gib mir ein Rezept.
        Wie weit ist der Mond?|Wie viele Menschen leben auf der Erde?|Schreib ein Programm.|Was gibt es Neues?
        Was ist die Wurzel aus zwei?|Es regnet.|Ich mag Fußball.|Meine Katze ist krank.|Bestell eine Pizza.|Spiel Musik.
        Mach das Licht an.|Ruf meine Mutter an.|Warum ist Wasser nass?|Welches Auto soll ich kaufen?
        """),
    "fr": _list("""
        Raconte une blague.|Raconte-moi une histoire.|Quelle heure est-il ?|Quel jour sommes-nous ?|Quel temps fait-il ?
        Qui est le président ?|Quel âge as-tu ?|Que dois-je manger ce soir ?|Je m'ennuie.|J'ai mal à la tête.
        Je suis triste.|Comment maigrir ?|Comment apprendre l'anglais ?|Écris un mail à mon chef.|Donne-moi une recette.
        À quelle distance est la lune ?|Combien de personnes vivent sur terre ?|Écris un programme.|Quoi de neuf ?
        Il pleut.|J'aime le football.|Mon chat est malade.|Commande une pizza.|Mets de la musique.|Allume la lumière.
        Appelle ma mère.|Pourquoi l'eau mouille ?|Quelle voiture dois-je acheter ?
        """),
    "es": _list("""
        Cuéntame un chiste.|Cuéntame una historia.|¿Qué hora es?|¿Qué día es hoy?|¿Qué tiempo hace?
        ¿Quién es el presidente?
        ¿Cuántos años tienes?|¿Qué debo comer esta noche?|Me aburro.|Me duele la cabeza.|Estoy triste.|¿Cómo adelgazo?
        ¿Cómo aprendo inglés?|Escribe un correo a mi jefe.|Dame una receta.|¿A qué distancia está la luna?
        ¿Cuántas personas viven en la tierra?|Escribe un programa.|¿Qué hay de nuevo?|Llueve.|Me gusta el fútbol.
        Mi gato está enfermo.|Pide una pizza.|Pon música.|Enciende la luz.|Llama a mi madre.
        ¿Por qué moja el agua?|¿Qué coche debo comprar?
        """),
}  # fmt: skip
PEOPLE = (
    "Albert Einstein", "Marie Curie", "Isaac Newton", "Napoleon", "Julius Caesar", "Cleopatra", "Mozart", "Beethoven",
    "Shakespeare", "Goethe", "Picasso", "Leonardo da Vinci", "Galileo", "Charles Darwin", "Abraham Lincoln", "Gandhi",
    "Nelson Mandela", "Queen Victoria", "Martin Luther King", "Elvis Presley", "Madonna", "Messi", "Barack Obama",
    "Angela Merkel", "Bill Gates", "Steve Jobs", "Alan Turing", "Ada Lovelace", "Socrates", "Plato", "Aristotle",
    "Kant",
    "Sigmund Freud", "Frida Kahlo", "Charlie Chaplin", "Neil Armstrong", "Christopher Columbus", "Homer", "Buddha",
)  # fmt: skip
OF_PEOPLE = (
    "Who is {}?", "Who was {}?", "When was {} born?", "When did {} die?", "Where was {} born?", "What did {} do?",
    "Tell me about {}.", "What is {} famous for?", "How old is {}?", "What did {} write?", "Is {} still alive?",
    "Was {} married?", "who is {}", "Wer ist {}?", "Wer war {}?", "Wann wurde {} geboren?", "Qui est {} ?",
    "Qui était {} ?",
    "Quand est né {} ?", "¿Quién es {}?", "¿Quién fue {}?", "¿Cuándo nació {}?",
)  # fmt: skip
COUNTRIES = (
    "China", "India", "Brazil", "Canada", "Mexico", "Argentina", "Russia", "Turkey", "Sweden", "Norway", "Denmark",
    "Finland", "Poland", "Hungary", "Romania", "Ukraine", "Kenya", "Nigeria", "Ghana", "Morocco", "Israel", "Iran",
    "Iraq",
    "Vietnam", "Thailand", "Indonesia", "Australia", "Chile", "Peru", "Cuba", "Iceland", "Switzerland", "Belgium",
    "Nepal",
    "the United States", "South Africa", "Saudi Arabia", "South Korea", "New Zealand", "Bulgaria", "Croatia",
    "Mongolia",
)  # fmt: skip
OF_COUNTRIES = (
    "What is the capital of {}?", "How many people live in {}?", "Who is the president of {}?", "Where is {}?",
    "What language do people speak in {}?", "What is the flag of {}?", "How big is {}?", "What do people eat in {}?",
    "Who is the king of {}?", "What is the currency of {}?", "How is the weather in {}?", "What is the time in {}?",
    "How do I get to {}?", "What is the history of {}?", "Is {} a rich country?", "What is the longest river in {}?",
)  # fmt: skip
CODE = (
    "Write a {} function that {}.", "Write a program in {} that {}.", "Show me {} code that {}.",
    "Is there a {} tool that {}?",
)  # fmt: skip
PROGRAMS = ("Python", "Java", "C", "Rust", "JavaScript", "SQL", "Go", "Bash", "Haskell", "Ruby")
DEEDS = (
    "sorts a list", "reads a file", "counts words", "finds prime numbers", "opens a window", "downloads a page",
    "computes an average", "reverses a string", "prints a table", "draws a circle", "checks a password", "sends a mail",
)  # fmt: skip
SUMS = (
    "What is {} + {}?", "What is {} * {}?", "What is {} - {}?", "What is {} / {}?", "{} + {}", "{}*{}",
    "Calculate {} / {}.",
    "What is {} divided by {}?", "How much is {} times {}?", "What is {} percent of {}?",
    "What is {} to the power of {}?",
    "Was ist {} mal {}?", "Combien font {} fois {} ?", "¿Cuánto es {} por {}?",
)  # fmt: skip
